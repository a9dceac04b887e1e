"""What every format renders: tables of cells, sections, the whole report."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sweep.report.curves import Curve
from sweep.report.grid import Grid
from sweep.report.stats import Value

DASH = "–"


@dataclass(slots=True)
class Cell:
    """A cell's text, the number it is sorted by (None: last), whether it is marked, and why it is missing."""

    text: str
    value: float | None = None
    marked: bool = False
    missing: int = 0

    @property
    def is_missing(self) -> bool:
        return self.text == DASH

    @property
    def plain(self) -> str:
        """The text, with the count of missing runs."""
        return f"{self.text} ({self.missing})" if self.missing else self.text


@dataclass
class Table:
    """Methods by columns. `detail` tables are left out on the terminal; `dataset` is "" for averages."""

    key: str
    title: str
    columns: list[str]
    rows: list[tuple[str, list[Cell]]]
    notes: list[str] = field(default_factory=list)
    detail: bool = False


@dataclass
class Section:
    """All of one (protocol, backbone, variant)."""

    key: str
    title: str
    facts: list[tuple[str, str]]
    missing: list[str]  # a line per cell
    missing_runs: int
    tables: list[Table]
    curves: list[Curve]
    grid: Grid


@dataclass
class Report:
    title: str
    facts: list[tuple[str, str]]
    notes: list[str]
    damaged: list[str]
    sections: list[Section]


def mean_cell(value: Value) -> Cell:
    """ "mean ± interval", the mean alone for one seed, or a dash with the count of missing runs."""
    if value.mean is None:
        return Cell(DASH, missing=value.missing)
    text = f"{value.mean:.2f}" + (f" ± {value.half:.2f}" if value.half is not None else "")
    return Cell(text, value.shown)


def mark_best(rows: Sequence[tuple[str, list[Cell]]], largest: bool = True) -> None:
    """Mark the best mean of each column, all that are equal to two decimals; a single row has no best."""
    best: Callable = max if largest else min
    for column in zip(*(cells for _, cells in rows), strict=True):
        values = [cell.value for cell in column if cell.value is not None]
        for cell in column:
            cell.marked = len(values) > 1 and cell.value == best(values)


def shots_label(shots: int) -> str:
    return f"K={shots}" if shots else "any K"
