"""The content of a report, from which every format is written: cells, tables, sections."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from runs.run import ALL_SHOTS
from sweep.report.confusion import Matrix
from sweep.report.curves import Curve
from sweep.report.grid import Grid
from sweep.report.stats import Value

DASH = "–"


@dataclass(slots=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: without the number of missing runs.
        value: what the column is sorted by; cells with None come last.
        marked: shown in bold.
        missing: the number of missing runs.
    """

    text: str
    value: float | None = None
    marked: bool = False
    missing: int = 0

    @property
    def is_missing(self) -> bool:
        return self.text == DASH

    @property
    def plain(self) -> str:
        """The text, with the number of missing runs."""
        return f"{self.text} ({self.missing})" if self.missing else self.text


@dataclass
class Table:
    """Rows, such as methods, by columns.

    Attributes:
        key: for labels and links.
        title: for readers.
        columns: their headers, without that of the rows' names.
        rows: name and cells of each.
        notes: sentences below the table.
        detail: it is not printed on the terminal, and folded on the HTML page.
        rows_of: what the rows are, the header of their names.
    """

    key: str
    title: str
    columns: list[str]
    rows: list[tuple[str, list[Cell]]]
    notes: list[str] = field(default_factory=list)
    detail: bool = False
    rows_of: str = "method"


@dataclass
class Section:
    """The part of a report about one (protocol, backbone, variant)."""

    key: str
    title: str
    facts: list[tuple[str, str]]
    missing: list[str]  # one line per data set, method and shots
    missing_runs: int
    tables: list[Table]
    curves: list[Curve]
    matrices: list[Matrix]
    grid: Grid


@dataclass
class Report:
    title: str
    facts: list[tuple[str, str]]
    notes: list[str]
    damaged: list[str]
    sections: list[Section]


def mean_cell(value: Value, digits: int = 2) -> Cell:
    """ "mean ± interval", "mean (SD deviation)", the mean alone for one seed, or a dash with the missing runs."""
    if value.mean is None:
        return Cell(DASH, missing=value.missing)
    text = f"{value.mean:.{digits}f}" + (f" ± {value.half:.{digits}f}" if value.half is not None else "")
    text += f" (SD {value.deviation:.{digits}f})" if value.deviation is not None else ""
    return Cell(text, round(value.mean, digits))  # means that look equal rank equally


def mark_best(rows: Sequence[tuple[str, list[Cell]]], largest: bool = True) -> None:
    """Mark the best mean of each column, and those equal to it to two decimals; nothing in a table of one row."""
    best: Callable = max if largest else min
    for column in zip(*(cells for _, cells in rows), strict=True):
        values = [cell.value for cell in column if cell.value is not None]
        for cell in column:
            cell.marked = len(values) > 1 and cell.value == best(values)


def p_text(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def shots_label(shots: int) -> str:
    if shots == ALL_SHOTS:
        return "all"
    return f"K={shots}" if shots else "any K"
