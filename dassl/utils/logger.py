"""Copy printed text to a log file."""

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from dassl.errors import OutputError

__all__ = ["Logger", "open_log", "printing_to", "restore_stdout", "setup_logger"]


class Logger:
    """Replaces sys.stdout: writes to the console and to a file. In the file, newlines replace carriage returns."""

    def __init__(self, path: str | None = None):
        self.console = sys.stdout
        self.file = None
        if path is not None:
            with _writing(path):
                Path(path).parent.mkdir(parents=True, exist_ok=True)
                # Names of files may hold bytes that are no text.
                self.file = open(path, "a", encoding="utf-8", errors="backslashreplace")  # noqa: SIM115 - see close()

    def write(self, text: str) -> None:
        self.console.write(text)
        if self.file is not None:
            with _writing(self.file.name):
                self.file.write(text.replace("\r", "\n"))

    def flush(self) -> None:
        self.console.flush()
        if self.file is not None:
            with _writing(self.file.name):
                self.file.flush()

    def isatty(self) -> bool:
        return self.console.isatty()

    def close(self) -> None:
        if self.file is not None:
            self.file.close()
            self.file = None


def setup_logger(output: str | None = None) -> None:
    """Copy everything printed from now on to a log file.

    Args:
        output: a file (.txt or .log), or a folder, in which the file is log.txt. An existing log is renamed. None
            changes nothing.
    """
    if output is not None:
        sys.stdout = open_log(output)


def open_log(output: str) -> Logger:
    """Open a log as in `setup_logger`, without replacing sys.stdout."""
    path = output if output.endswith((".txt", ".log")) else os.path.join(output, "log.txt")
    if os.path.exists(path):
        with _writing(path):
            os.replace(path, f"{path}-{time.strftime('%Y-%m-%d-%H-%M-%S')}")
    return Logger(path)


@contextlib.contextmanager
def printing_to(logger: Logger) -> Iterator[None]:
    """Print to an open log while the context is open. This lets several runs in one process take turns."""
    before, sys.stdout = sys.stdout, logger
    try:
        yield
    finally:
        sys.stdout = before
        logger.flush()


@contextlib.contextmanager
def _writing(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(path, error) from error


def restore_stdout() -> None:
    """Undo `setup_logger` and close the log file."""
    if isinstance(sys.stdout, Logger):
        logger = sys.stdout
        sys.stdout = logger.console
        logger.close()
