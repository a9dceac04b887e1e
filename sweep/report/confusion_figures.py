"""Draws confusion matrices with matplotlib: one picture (PNG) of each."""

from collections.abc import Sequence
from pathlib import Path

from dassl.utils import atomic_path
from sweep.report.confusion import Matrix
from sweep.report.escape import one_line
from sweep.report.figures import DPI, PNG, SETTINGS

MOST_NUMBERED = 25  # classes up to which the counts are written into the cells
LONGEST = 40  # characters of a class name beside the matrix


def draw_matrices(matrices: Sequence[Matrix], to: Path) -> None:
    """Draw <path>.png of each matrix: shades show the share of the true class, numbers the images."""
    from matplotlib import rc_context

    with rc_context(SETTINGS | {"axes.spines.top": True, "axes.spines.right": True}):
        for matrix in matrices:
            figure = _figure(matrix)
            with atomic_path(to / f"{matrix.path}.png") as temporary:
                figure.savefig(temporary, **PNG)


def _figure(matrix: Matrix):
    from matplotlib.figure import Figure

    count = len(matrix.classes)
    side = min(max(4.2, 1.9 + 0.42 * count), 14.0)
    figure = Figure(figsize=(side + 0.8, side), dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    totals = [sum(row) for row in matrix.counts]
    shares = [
        [100 * value / total if total else 0.0 for value in row]
        for row, total in zip(matrix.counts, totals, strict=True)
    ]
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=100)
    names = [_short(name) for name in matrix.classes]
    axes.set_xticks(range(count), names, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(count), names)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    figure.suptitle(one_line(matrix.title), fontsize=10, wrap=True)
    figure.colorbar(image, ax=axes, label="% of the true class", shrink=0.8)
    if count <= MOST_NUMBERED:
        for row, (values, of_row) in enumerate(zip(matrix.counts, shares, strict=True)):
            for column, (value, share) in enumerate(zip(values, of_row, strict=True)):
                colour = "white" if share > 55 else "black"
                axes.text(column, row, f"{value:,}", ha="center", va="center", color=colour, fontsize=8)
    return figure


def _short(name: str) -> str:
    name = one_line(name)
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"
