"""Find the modules of a package and the classes that they register, so that no list of them is written by hand.

This module needs only the standard library: programs can list registered names without importing torch.
"""

import ast
import importlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Declaration", "declarations", "declared_names", "import_modules"]


@dataclass(frozen=True)
class Declaration:
    """A registered class as its source file declares it.

    Attributes:
        module: name of the module in its package.
        class_name: name of the class.
        constants: attributes with a literal value in the class body; inherited attributes are not included.
    """

    module: str
    class_name: str
    constants: dict[str, Any]


def import_modules(package_name: str, decorators: Collection[str] = ()) -> None:
    """Import the modules of a package, for example to fill a registry; sub-packages are left out.

    Args:
        package_name: the package, which may be in the middle of its own import.
        decorators: if given, import only the modules that declare a class with one of these decorators.
    """
    folder = Path(importlib.import_module(package_name).__path__[0])
    modules = declared_names(folder, decorators).values() if decorators else [path.stem for path in _files(folder)]
    for module in dict.fromkeys(modules):
        importlib.import_module(f"{package_name}.{module}")


def declared_names(folder: Path, decorators: Collection[str]) -> dict[str, str]:
    """Find the names that the modules of a folder register: registered name -> module; see `declarations`."""
    return {name: found.module for name, found in declarations(folder, decorators).items()}


def declarations(folder: Path, decorators: Collection[str]) -> dict[str, Declaration]:
    """Find the registered classes in the Python files of a folder without importing them.

    Args:
        folder: the folder of a package.
        decorators: dotted names of the decorators that register a class, such as "BACKBONE_REGISTRY.register", with or
            without a call. The name in the registry is the keyword argument `name`, or else the name of the class.

    Returns:
        Registered name -> declaration, in the order of the file names and of the classes in each file.
    """
    found: dict[str, Declaration] = {}
    for path in _files(folder):
        for node in ast.parse(path.read_text(encoding="utf-8"), str(path)).body:
            if isinstance(node, ast.ClassDef):
                for name in _registered_names(node, decorators):
                    found[name] = Declaration(path.stem, node.name, dict(_constants(node)))
    return found


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.py") if not path.stem.startswith("__"))


def _registered_names(node: ast.ClassDef, decorators: Collection[str]) -> Iterator[str]:
    for decorator in node.decorator_list:
        function, keywords = (
            (decorator.func, decorator.keywords) if isinstance(decorator, ast.Call) else (decorator, [])
        )
        if ast.unparse(function) in decorators:
            names = [ast.literal_eval(word.value) for word in keywords if word.arg == "name"]
            yield names[0] if names and names[0] else node.name


def _constants(node: ast.ClassDef) -> Iterator[tuple[str, Any]]:
    for statement in node.body:
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        value = getattr(statement, "value", None)
        if len(targets) == 1 and isinstance(targets[0], ast.Name) and value is not None:
            try:
                yield targets[0].id, ast.literal_eval(value)
            except ValueError:  # the value is not a literal
                continue
