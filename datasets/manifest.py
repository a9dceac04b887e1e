"""images.csv: a list of images with their classes, patients and parts, instead of class folders."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dassl.errors import InputError, shown, unknown_name
from datasets.split_check import PARTS, Entry, is_text, path_problem
from datasets.table import Cells, read_table

FILE = "images.csv"
REQUIRED = ("path", "label")
HELP = "its first line names the columns: path, label and, where wanted, patient and part, separated by , or ;"


@dataclass(frozen=True)
class Manifest:
    """The rows of images.csv: the cells of each line, by line number.

    Attributes:
        path: the file.
        columns: the names of its columns.
        rows: by line number, the cells by column.
    """

    path: Path
    columns: tuple[str, ...]
    rows: dict[int, Cells]

    def classnames(self) -> tuple[str, ...]:
        """The sorted class names, with spaces for underscores as for class folders."""
        return tuple(sorted({_plain(row["label"]) for row in self.rows.values()}))

    def names_otherwise(self, entries: Sequence[Entry]) -> list[str]:
        """The paths of those entries that the file does not list, or under another class."""
        names = {row["path"]: _plain(row["label"]) for row in self.rows.values()}
        return [path for path, _, name in entries if names.get(path) != _plain(name)]

    def entries(self, classnames: Sequence[str]) -> list[Entry]:
        """All images with the label and the name of their class, in the order of the lines.

        Raises:
            InputError: a label that is none of the classes; the message names the line.
        """
        labels = {_plain(name): label for label, name in enumerate(classnames)}
        entries = []
        for line, row in self.rows.items():
            if (label := labels.get(_plain(row["label"]))) is None:
                raise InputError(f"{self._line(line)}: {unknown_name('class', row['label'], classnames)}")
            entries.append((row["path"], label, classnames[label]))
        return entries

    def parts(self, classnames: Sequence[str]) -> dict[str, list[Entry]] | None:
        """The images of each part; None if the file has no parts.

        Raises:
            InputError: lines without a part, or with an unknown one.
        """
        given = {line: row.get("part", "") for line, row in self.rows.items()}
        if not any(given.values()):
            return None
        parts: dict[str, list[Entry]] = {part: [] for part in PARTS}
        for (line, part), entry in zip(given.items(), self.entries(classnames), strict=True):
            if part not in parts:
                raise InputError(f"{self._line(line)}: part {shown(part)} must be one of {', '.join(PARTS)}")
            parts[part].append(entry)
        return parts

    def patients(self, column: str) -> dict[str, str]:
        """The patient of each path, from a column.

        Raises:
            InputError: a line without one.
        """
        for line, row in self.rows.items():
            if not row[column]:
                raise InputError(f"{self._line(line)}: column {shown(column)} is empty, and it names the patient")
        return {row["path"]: row[column] for row in self.rows.values()}

    def _line(self, line: int) -> str:
        return f"'{self.path}', line {line}"


def read_manifest(path: Path) -> Manifest:
    """Read images.csv; `datasets.table` says in which forms of CSV.

    Raises:
        InputError: the file cannot be read or is not of this form; the message names the line.
    """
    columns, rows = read_table(path, REQUIRED, HELP)
    _check(path, rows)
    return Manifest(path, columns, rows)


def _check(path: Path, rows: dict[int, Cells]) -> None:
    first: dict[str, int] = {}
    for line, row in rows.items():
        where = f"'{path}', line {line}"
        if problem := path_problem(row["path"]):
            raise InputError(f"{where}: path {shown(row['path'])} {problem}")
        if not row["label"] or not is_text(row["label"]):
            raise InputError(f"{where}: label {shown(row['label'])} is no class name")
        if first.setdefault(row["path"], line) != line:
            raise InputError(f"{where}: image {shown(row['path'])} is in line {first[row['path']]} already")


def _plain(name: str) -> str:
    return name.replace("_", " ")
