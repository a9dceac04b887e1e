"""Predictions as CSV or JSON lines, in a file that is there when it is complete, or on standard output."""

import contextlib
import csv
import errno
import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from dassl.errors import InputError, OutputError
from dassl.utils import atomic_path
from dassl.utils.csvtext import csv_cell

if TYPE_CHECKING:
    from biomed_dpt.prediction import Prediction

FORMATS = {"csv": (".csv",), "jsonl": (".jsonl", ".ndjson", ".json")}  # and the suffixes of their files
PARTIAL = ".partial"  # ends the name of a file that an interrupt left
DIGITS = 8  # of probabilities and entropies


def format_of(out: str, wanted: str = "") -> str:
    """The format of an output file: as wanted, or by its suffix; CSV for standard output.

    Raises:
        InputError: the suffix is that of neither format, or the output cannot be replaced, as it is no file.
    """
    if out and os.path.exists(out) and not os.path.isfile(out):
        raise InputError(f"--out: '{out}' is no file; name a CSV or JSON lines file")
    suffix = Path(out).suffix.lower()
    by_suffix = next((name for name, suffixes in FORMATS.items() if suffix in suffixes), "" if out else "csv")
    if not wanted and not by_suffix:
        raise InputError(f"--out: the suffix of '{out}' is neither .csv nor .jsonl; choose one, or give --format")
    return wanted or by_suffix


class RowWriter:
    """Writes one row, or one JSON object, per prediction.

    Args:
        file: where to.
        kind: "csv" or "jsonl".
        classnames: the C classes.
        top: only so many of the most probable classes; 0 for the probabilities of all.
        more: names of further columns.
    """

    def __init__(self, file: TextIO, kind: str, classnames: Sequence[str], top: int = 0, more: Sequence[str] = ()):
        self.file, self.kind, self.names = file, kind, list(classnames)
        self.top, self.more = min(top, len(classnames)), more
        self.rows = 0
        self._csv = csv.writer(file, lineterminator="\n")
        if kind == "csv":
            self._csv.writerow(map(csv_cell, self._columns()))

    def write(self, found: "Prediction", **more: Any) -> None:
        """Write a prediction, with the values of the further columns: text, or a list of texts."""
        if self.kind == "csv":
            self._csv.writerow(map(csv_cell, self._cells(found, more)))
        else:
            self.file.write(json.dumps(self._record(found, more)) + "\n")
        self.rows += 1

    def _columns(self) -> list[str]:
        ranks = range(1, self.top + 1)
        columns = [column for rank in ranks for column in (f"class{rank}", f"probability{rank}")]
        columns = columns or [f"probability of {name}" for name in self.names]
        return ["file", "error", "predicted", *columns, "entropy", *self.more]

    def _cells(self, found: "Prediction", more: dict[str, Any]) -> list[Any]:
        if found.probabilities is None:
            return [found.file, found.error, *[""] * (len(self._columns()) - 2)]
        numbers = [_number(value) for value in found.probabilities]
        cells = [cell for label in found.ranked[: self.top] for cell in (self.names[label], numbers[label])]
        values = [more[name] if isinstance(more[name], str) else "; ".join(more[name]) for name in self.more]
        return [found.file, "", self.names[found.ranked[0]], *(cells or numbers), _number(found.entropy), *values]

    def _record(self, found: "Prediction", more: dict[str, Any]) -> dict[str, Any]:
        if found.probabilities is None:
            return {"file": found.file, "error": found.error}
        labels = found.ranked[: self.top] or range(len(self.names))
        return {
            "file": found.file,
            "predicted": self.names[found.ranked[0]],
            "probabilities": {self.names[label]: float(_number(found.probabilities[label])) for label in labels},
            "entropy": float(_number(found.entropy)),
            **{name: more[name] for name in self.more},
        }


def _number(value: float) -> str:
    return f"{value:.{DIGITS}g}"


@contextlib.contextmanager
def row_writer(out: str, *about: Any, stdout: TextIO | None = None) -> Iterator[RowWriter]:
    """Open a RowWriter on a file, which gets its name at the end of the context, or on standard output.

    After an interrupt, or an error of the input, the rows so far are kept under the name of the file with ".partial".

    Args:
        out: the file; "" for standard output.
        about: the arguments of RowWriter after the file.
        stdout: takes the place of standard output.

    Raises:
        OutputError: it cannot be written, also where the disk is full.
    """
    if not out:
        with _checked(stdout or sys.stdout) as file:
            yield RowWriter(file, *about)
        return
    with atomic_path(out) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        rows = RowWriter(file, *about)
        try:
            yield rows
        except (KeyboardInterrupt, InputError) as error:
            if rows.rows and not isinstance(error, OutputError):
                _keep(file, temporary, out + PARTIAL)
            raise


def _keep(file: TextIO, temporary: Path, partial: str) -> None:
    file.flush()
    with atomic_path(partial) as kept:
        shutil.copyfile(temporary, kept)
    print(f"the images that were predicted before are in '{partial}'", file=sys.stderr)


@contextlib.contextmanager
def _checked(stdout: TextIO) -> Iterator[TextIO]:
    """Standard output; it is an OutputError where the program that reads it has ended, or its disk is full."""
    try:
        yield stdout
        stdout.flush()
    except OSError as error:
        if isinstance(error, OutputError) or error.errno not in (errno.EPIPE, errno.ENOSPC):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), stdout.fileno())  # Python flushes it once more at its end
        raise OutputError("standard output", error) from error
