"""Names of methods, backbones and data sets, read from their declarations; needs neither torch nor a registry."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from dassl.config import parse_yaml

PROJECT = Path(__file__).resolve().parent.parent
DATASET_FILES = PROJECT / "configs" / "datasets"
METHOD_FILES = PROJECT / "configs" / "trainers"
PROTOCOLS = ("few_shot", "base2new")


@cache
def method_names() -> tuple[str, ...]:
    """The methods of this project, sorted: classes in trainers/ that are registered by a decorator."""
    return tuple(sorted(name for name, _ in _registered_classes("trainers")))


@cache
def backbone_names() -> tuple[str, ...]:
    """The backbones of this project, sorted: classes in clip/ that are registered by a decorator."""
    return tuple(sorted(name for name, _ in _registered_classes("clip")))


@cache
def dataset_names() -> tuple[str, ...]:
    """The data sets of this project, sorted: the yaml files in configs/datasets/."""
    return tuple(sorted(path.stem for path in DATASET_FILES.glob("*.yaml")))


@cache
def paper_datasets() -> tuple[str, ...]:
    """The data sets of the Biomed-DPT paper, sorted: those whose class says `in_paper = True`."""
    of_paper = {name for name, body in _registered_classes("datasets") if _sets_to_true(body, "in_paper")}
    return tuple(name for name in dataset_names() if _class_of(name) in of_paper)


def method_file(method: str) -> Path:
    """The file with a method's settings; it need not exist."""
    return METHOD_FILES / f"{method}.yaml"


def is_path(dataset: str) -> bool:
    """Whether the name of a data set is a path to a yaml file instead."""
    return "/" in dataset or "\\" in dataset or dataset.endswith((".yaml", ".yml"))


def _class_of(dataset: str) -> str:
    return parse_yaml((DATASET_FILES / f"{dataset}.yaml").read_text(encoding="utf-8"))["DATASET.NAME"]


def _registered_classes(folder: str) -> Iterator[tuple[str, list[ast.stmt]]]:
    """Registered name and body of every class in a folder whose decorator puts it into a registry."""
    for path in sorted((PROJECT / folder).glob("*.py")):
        text = path.read_text(encoding="utf-8")
        if "register" not in text:
            continue
        for node in ast.parse(text).body:
            if isinstance(node, ast.ClassDef):
                names = [_registered_name(decorator, node.name) for decorator in node.decorator_list]
                yield from ((name, node.body) for name in names if name)


def _registered_name(decorator: ast.expr, class_name: str) -> str:
    """The name under which a decorator registers a class; "" for a decorator of another kind."""
    call = decorator if isinstance(decorator, ast.Call) else None
    function = call.func if call else decorator
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    if name not in ("register", "register_method"):
        return ""
    for keyword in call.keywords if call else ():
        if keyword.arg == "name" and isinstance(keyword.value, ast.Constant):
            return str(keyword.value.value)
    return class_name


def _sets_to_true(body: list[ast.stmt], attribute: str) -> bool:
    return any(
        isinstance(statement, ast.Assign)
        and [ast.unparse(target) for target in statement.targets] == [attribute]
        and ast.unparse(statement.value) == "True"
        for statement in body
    )
