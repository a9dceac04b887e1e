"""What the methods cost: wall time, GPU hours, trainable parameters and peak memory."""

import math
from collections.abc import Sequence

from sweep.report.collect import Record
from sweep.report.grid import Grid
from sweep.report.tables import DASH, Cell, Table

NOTE = (
    "Wall time: the runs of a stack share its training time in equal parts. GPU hours: the wall time of runs on a GPU, "
    "each on one. Neither includes time in which nothing ran, or the computation of features that earlier runs cached. "
    "Peak memory: the largest of all runs, of tensors on the GPU or else of the process, with the runs that the same "
    "process carried out before."
)


def cost_table(grid: Grid) -> Table:
    """Complete runs, wall time in all and per run, GPU hours, trainable parameters and peak memory, per method."""
    by_method: dict[str, list[Record]] = {method: [] for method in grid.methods}
    for run, record in grid.records.items():
        by_method[run.method].append(record)
    columns = ["complete runs", "wall time in h", "s per run", "GPU hours", "trainable parameters", "peak memory in MB"]
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
        _memory(records),
    ]


def _memory(records: Sequence[Record]) -> Cell:
    largest: dict[str, int] = {}
    for size, of in filter(None, (record.memory for record in records)):
        largest[of] = max(size, largest.get(of, 0))
    text = ", ".join(f"{size / 1e6:,.0f} ({of})" for of, size in sorted(largest.items()))
    return Cell(text, max(largest.values())) if largest else Cell(DASH)
