"""The tables that a sweep prints at its end."""

from collections.abc import Sequence
from pathlib import Path

from sweep.plan import Axes
from sweep.report.accuracy import dataset_table, table_shots
from sweep.report.collect import Selection, collect
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
    grid, damaged = _grid(axes, output)
    texts = [f"damaged: {reason}\n" for reason in damaged]
    for dataset in grid.datasets:
        for shots in table_shots(grid):
            at = f", {shots_label(shots)}" if shots and len(grid.shots) > 1 else ""
            title = f"{dataset}, {axes.backbone}, {axes.protocol}{at}, accuracy in %, mean ± 95 % interval over seeds"
            table = table_text(dataset_table(grid, "accuracy", dataset, shots), "github", lambda cell: cell.text)
            texts.append(f"{title}\n\n{table}\n")
    return texts


def _grid(axes: Axes, output: Path) -> tuple[Grid, list[str]]:
    """The runs of a grid, whatever their variant, and the reasons why some are damaged."""
    names = (axes.datasets, axes.methods, axes.shots, axes.seeds)
    datasets, methods, shots, seeds = (tuple(dict.fromkeys(values)) for values in names)
    found = collect(output, Selection((axes.protocol,), (axes.backbone,), datasets, methods, shots, seeds))
    records = {run: record for (_, run), record in found.records.items()}
    grid = Grid(axes.protocol, axes.backbone, "", datasets, methods, shots, seeds, found.untrained(), records)
    return grid, [reason for _, reason in found.damaged]
