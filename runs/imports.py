"""A user's own Python file with trainers and data sets (--import)."""

import importlib.util
import os
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from dassl.errors import InputError


def import_file(path: str) -> None:
    """Import a Python file, which registers its trainers and data sets; each file is imported once per process.

    Where the file has CoOp's function `extend_cfg(cfg)`, the node TRAINER.<NAME> that it creates becomes the class
    attribute `own_settings` of the trainer, the defaults of its settings.

    Raises:
        InputError: the file is missing, or its import fails.
    """
    file = Path(os.path.expanduser(path)).resolve()
    if not file.is_file():
        raise InputError(f"--import: '{path}' is no file; name a Python file that registers a trainer or a data set")
    known = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
    if str(file) in known:
        return
    spec = importlib.util.spec_from_file_location(f"imported_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise InputError(f"--import: '{path}' is no Python file: its name must end with .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and pickled objects look their module up by name
    if str(file.parent) not in sys.path:
        sys.path.append(str(file.parent))  # the file may import others beside it
    try:
        spec.loader.exec_module(module)
        _take_settings(module)
    except Exception as error:
        del sys.modules[spec.name]
        raise InputError(f"--import: '{path}', {_line(error, file)}{type(error).__name__}: {error}") from error


def _line(error: Exception, file: Path) -> str:
    """The line of the file in which an error happened, "" where there is none."""
    if isinstance(error, SyntaxError):
        return f"line {error.lineno}: "
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
    return f"line {lines[-1]}: " if lines else ""


def _take_settings(module: ModuleType) -> None:
    from dassl.config import get_cfg_default
    from dassl.engine import TRAINER_REGISTRY

    extend = getattr(module, "extend_cfg", None)
    if extend is None:
        return
    cfg = get_cfg_default()
    extend(cfg)
    for name in TRAINER_REGISTRY.registered_names():
        trainer: Any = TRAINER_REGISTRY.get(name)
        if trainer.__module__ == module.__name__ and name.upper() in cfg.TRAINER:
            trainer.own_settings = dict(cfg.TRAINER[name.upper()])
