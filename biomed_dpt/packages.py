"""Refuses to work where another installed package hides one of this project's, such as `datasets` or `clip`."""

from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
# Imported below this package; several are names of packages that other projects install.
NAMES = ("clip", "configs", "dassl", "datasets", "prompts", "runs", "trainers")


class HiddenPackageError(ImportError):
    """Python finds a package of another project under the name of one of this project's."""


def refuse_other_packages() -> None:
    """Check that Python finds this project's own packages; imports none of them.

    Raises:
        HiddenPackageError: it finds another one, or has imported it before. The message names the first.
    """
    for name in NAMES:
        found = _place(find_spec(name))
        if found is None:
            raise HiddenPackageError(
                f"this project's package '{name}' is not in '{PROJECT}'; install the project again"
            )
        if found.parent != PROJECT:
            raise HiddenPackageError(
                f"the package '{name}' at '{found}' hides this project's; use an environment of its own for this "
                "project (docs/PYTHON.md)"
            )


def _place(spec: ModuleSpec | None) -> Path | None:
    """The folder of a package; the file of a plain module."""
    if spec is None:
        return None
    if spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations))).resolve()
    return Path(spec.origin).resolve() if spec.origin else None
