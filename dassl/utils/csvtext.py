"""Text that comes from files, such as names, made safe for the cells of a CSV file and for the names of other files."""

import csv
import hashlib
import io
import re
from collections.abc import Iterable, Sequence

from dassl.errors import printable

# A spreadsheet takes text with these at its beginning for a formula; the last four are wide forms of the first.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_LONGEST = 100  # characters of a file's name


def one_line(text: object) -> str:
    """Text that stays on one line of a terminal or a page."""
    return printable(str(text), keep="")


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
        return "'" + one_line(value)
    return one_line(value)


def file_name(text: str) -> str:
    """A name that is safe for a file, in a link and as a label: other characters become "_", and a digest is added."""
    kept = re.sub(r"^\.|[^A-Za-z0-9_.+-]", "_", text)[:_LONGEST]
    digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:8]
    return kept if kept == text else f"{kept}_{digest}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
