"""The tables that a sweep prints at its end."""

from collections.abc import Sequence
from pathlib import Path

from runs.results import NOT_TESTED
from sweep.plan import Axes
from sweep.report.accuracy import dataset_table, table_shots
from sweep.report.collect import Selection, collect
from sweep.report.escape import one_line
from sweep.report.grid import Grid
from sweep.report.tables import shots_label
from sweep.report.text import table_text


def summary(grids: Sequence[Axes], output: Path) -> str:
    """The accuracies of a sweep's complete runs, as Markdown.

    Args:
        grids: the runs, one grid per protocol.
        output: root of the run folders.

    Returns:
        a table per data set, for base-to-new per number of shots, too; methods, data sets and shots in the order
        asked for; a dash where a run is missing.
    """
    return "\n".join(text for axes in grids for text in _tables(axes, output))


def _tables(axes: Axes, output: Path) -> list[str]:
    grid, lines = grid_of(axes, output)
    texts = [f"{line}\n" for line in lines]
    folds = f" of the means over {axes.folds} folds" if axes.folds else ""
    spread = "mean ± 95 % interval over seeds" + folds
    if axes.folds and len(grid.seeds) == 1:
        spread = f"mean and standard deviation (SD) over {axes.folds} folds, which are not independent"
    for dataset in grid.datasets:
        for shots in table_shots(grid):
            at = f", {shots_label(shots)}" if shots and len(grid.shots) > 1 else ""
            title = one_line(f"{dataset}, {axes.backbone}, {axes.protocol}{at}, accuracy in %, {spread}")
            table = table_text(
                dataset_table(grid, "accuracy", dataset, shots), "github", lambda cell: cell.text, one_line
            )
            texts.append(f"{title}\n\n{table}\n")
    return texts


def grid_of(axes: Axes, output: Path) -> tuple[Grid, list[str]]:
    """The runs of a grid, whatever their variant, and lines about those without a result."""
    names = (axes.datasets, axes.methods, axes.shots, axes.seeds)
    datasets, methods, shots, seeds = (tuple(dict.fromkeys(values)) for values in names)
    found = collect(output, Selection((axes.protocol,), (axes.backbone,), datasets, methods, shots, seeds))
    records = {run: record for (_, run), record in found.records.items() if record.folds == axes.folds}
    untrained = found.untrained()
    grid = Grid(axes.protocol, axes.backbone, "", axes.folds, datasets, methods, shots, seeds, untrained, records)
    lines = [f"damaged: {problem}" for problem in found.problems]
    return grid, lines + [f"{NOT_TESTED}: {one_line(run)}" for run in found.untested]
