"""CSV files that spreadsheets open: names from files and folders are no formulas and stay on one line."""

import csv
import io
from collections.abc import Iterable, Sequence

from dassl.errors import printable

# A spreadsheet takes text with these at its beginning for a formula; the last four are wide forms of the first.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def csv_text(header: Sequence[str], rows: Iterable[Sequence]) -> str:
    """The text of a CSV file; see `csv_cell`."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(map(csv_cell, header))
    writer.writerows([csv_cell(cell) if isinstance(cell, str) else cell for cell in row] for row in rows)
    return file.getvalue()


def csv_cell(value: object) -> object:
    """A cell of a CSV file. Text that a spreadsheet would take for a formula gets an apostrophe; numbers stay."""
    if not isinstance(value, str):
        return value
    if value.lstrip(" ").startswith(_FORMULA) and not _is_number(value):
        return "'" + printable(value, keep="")
    return printable(value, keep="")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
