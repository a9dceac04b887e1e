"""Programs in processes that are forked from one with the libraries loaded; a new Python would import them for seconds.

The process is a new one in all else: it has none of this project's modules, and its own environment and folder.
"""

import os
import runpy
import sys
from dataclasses import dataclass
from pathlib import Path

from sweep.launchers.local import PRELOAD
from sweep.processes import context

PROJECT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Done:
    """How a program ended: its exit code, and what it wrote to standard output and standard error."""

    returncode: int
    said: str


def run(*words, log: Path, project: Path = PROJECT) -> Done:
    """Run a Python program to its end.

    Args:
        words: the path of its file, or "-m" and the name of a module, and its arguments.
        log: the file for what it prints.
        project: the folder that it starts in and imports this project's modules from.
    """
    arguments = ([*map(str, words)], str(log), str(project), dict(os.environ))
    process = context(PRELOAD).Process(target=_run, args=arguments)
    process.start()
    process.join()
    return Done(process.exitcode, log.read_text(encoding="utf-8", errors="replace"))


def _run(words: list[str], log: str, project: str, environment: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(project)
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    sys.path[:] = [project, *(path for path in sys.path if Path(path).resolve() != PROJECT)]
    for name, module in [*sys.modules.items()]:
        if PROJECT in Path(getattr(module, "__file__", None) or "/").parents and "site-packages" not in module.__file__:
            del sys.modules[name]
    module = words[0] == "-m"
    sys.argv = words[1:] if module else words
    if module:
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(words[0], run_name="__main__")
