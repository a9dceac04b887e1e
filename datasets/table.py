"""A CSV file with a line of column names, as programs of different vendors write it."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from dassl.errors import InputError, shown

Cells = dict[str, str]


def read_table(path: Path, required: Sequence[str], hint: str) -> tuple[tuple[str, ...], dict[int, Cells]]:
    """Read a CSV file, which Excel may have written: with a byte order mark, with commas or semicolons.

    Args:
        path: the file.
        required: columns that it must have, in lower case.
        hint: what the file must look like, for messages.

    Returns:
        The names of the columns in lower case, and by line number the cells by column, without spaces around them.

    Raises:
        InputError: the file cannot be read or is not of this form; the message names the line.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"'{path}' cannot be read ({error}); save it as CSV in UTF-8") from error
    head = text.partition("\n")[0]
    delimiter = ";" if ";" in head and "," not in head else ","
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows: dict[int, Cells] = {}
    columns: tuple[str, ...] = ()
    try:
        for cells in lines:
            cells = [cell.strip() for cell in cells]
            if not any(cells):
                continue
            if not columns:
                columns = _columns(path, cells, required, hint)
            elif len(cells) != len(columns):
                raise InputError(f"'{path}', line {lines.line_num}: {len(cells)} cells, but {len(columns)} columns")
            else:
                rows[lines.line_num] = dict(zip(columns, cells, strict=True))
    except csv.Error as error:
        raise InputError(f"'{path}', line {lines.line_num}: no valid CSV ({error}); {hint}") from error
    if not rows:
        raise InputError(f"'{path}' lists no images; {hint}")
    return columns, rows


def _columns(path: Path, cells: list[str], required: Sequence[str], hint: str) -> tuple[str, ...]:
    names = tuple(cell.lower() for cell in cells)
    missing = [name for name in required if name not in names]
    if missing:
        raise InputError(f"'{path}' has no column {shown(missing[0])}, but {', '.join(map(shown, names))}; {hint}")
    if len(set(names)) < len(names):
        raise InputError(f"'{path}' names a column twice: {', '.join(map(shown, names))}; {hint}")
    return names
