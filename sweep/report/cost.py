"""What the methods cost: time of the machine, GPU hours, learned parameters."""

import math
from collections.abc import Sequence

from sweep.report.collect import Record
from sweep.report.grid import Grid
from sweep.report.tables import DASH, Cell, Table

NOTE = (
    "Wall time is the machine's time: runs trained side by side share the time of their stack in equal parts. "
    "GPU hours count runs on a GPU only, each on one. Time in which nothing ran and features kept from earlier runs "
    "are not in it."
)


def cost_table(grid: Grid) -> Table:
    """Complete runs, wall time in all and per run, GPU hours and learned parameters, per method."""
    # Runs outside the grid (a method that learns nothing, under a dataset not asked for) were never collected.
    by_method: dict[str, list[Record]] = {method: [] for method in grid.methods}
    for run, record in grid.records.items():
        by_method[run.method].append(record)
    columns = ["complete runs", "wall time in h", "s per run", "GPU hours", "learned parameters"]
    rows = [(method, _cells(records)) for method, records in by_method.items()]
    return Table("cost", "What the methods cost", columns, rows, [NOTE])


def _cells(records: Sequence[Record]) -> list[Cell]:
    timed = [record for record in records if record.seconds is not None]
    total = math.fsum(record.seconds for record in timed)
    on_gpu = math.fsum(record.seconds for record in timed if record.on_gpu)
    parameters = sorted({record.parameters for record in records if record.parameters is not None})
    return [
        Cell(str(len(records)), len(records)),
        Cell(f"{total / 3600:.2f}", total) if timed else Cell(DASH),
        Cell(f"{total / len(timed):.1f}", total / len(timed)) if timed else Cell(DASH),
        Cell(f"{on_gpu / 3600:.2f}", on_gpu) if timed else Cell(DASH),
        Cell(" to ".join(f"{n:,}" for n in parameters[:: max(len(parameters) - 1, 1)]), parameters[-1])
        if parameters
        else Cell(DASH),
    ]
