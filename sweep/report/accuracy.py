"""Tables of accuracy, macro-F1 and calibration: averages over data sets and every data set by itself."""

from collections.abc import Sequence

from runs.results import harmonic
from sweep.report.collect import Record
from sweep.report.grid import Grid, metric
from sweep.report.stats import Value, over_seeds
from sweep.report.tables import Table, mark_best, mean_cell, shots_label

NAMES = {"accuracy": "accuracy", "macro_f1": "macro-F1", "ece": "expected calibration error"}
ONE_CLASS = "busi"  # three classes, so one new class: every image of it is right by construction


def h_of_run(record: Record) -> float | None:
    return harmonic(record.metrics["base"]["accuracy"], record.metrics["new"]["accuracy"])


def h_of_averages(grid: Grid, method: str, datasets: Sequence[str], shots: int) -> Value:
    """H of the two averages as shown; its interval is over the seeds' H of the seeds' averages."""
    base, new = (grid.averages(method, datasets, shots, metric(part, "accuracy")) for part in ("base", "new"))
    seeds = over_seeds([harmonic(*pair) for pair in zip(base, new, strict=True)], grid.missing(method, datasets, shots))
    if seeds.mean is None:
        return seeds
    return Value(harmonic(over_seeds(base).mean, over_seeds(new).mean), seeds.half)


def metric_tables(grid: Grid) -> list[Table]:
    """Of each metric the averages, where there are several data sets, then each data set."""
    make = _few_shot_tables if grid.protocol == "few_shot" else _base2new_tables
    return [table for name in NAMES for table in make(grid, name)]


def _few_shot_tables(grid: Grid, name: str) -> list[Table]:
    pick, columns = metric("all", name), [shots_label(k) for k in grid.shots]
    tables = []
    if len(grid.datasets) > 1:
        rows = {m: [grid.average(m, grid.datasets, k, pick) for k in grid.shots] for m in grid.methods}
        tables.append(_table(name, "average", f"average over {len(grid.datasets)} data sets", columns, rows))
    for dataset in grid.datasets:
        rows = {m: [grid.cell(m, dataset, k, pick) for k in grid.shots] for m in grid.methods}
        tables.append(_table(name, dataset, dataset, columns, rows))
    return tables


def averaged(grid: Grid) -> dict[str, tuple[str, ...]]:
    """The data sets that averages are taken over: all, and for base-to-new also " without busi"."""
    if len(grid.datasets) == 1:
        return {}
    if grid.protocol == "few_shot" or ONE_CLASS not in grid.datasets:
        return {"": grid.datasets}
    return {"": grid.datasets, f" without {ONE_CLASS}": tuple(name for name in grid.datasets if name != ONE_CLASS)}


def _base2new_tables(grid: Grid, name: str) -> list[Table]:
    return [table for shots in grid.shots for table in _base2new_tables_at(grid, name, shots)]


def _base2new_tables_at(grid: Grid, name: str, shots: int) -> list[Table]:
    tables = []
    at = f", {shots_label(shots)}" if shots else ""
    with_h = name == "accuracy"
    columns = ["base", "new", *(["H of the averages", "mean of the data sets' H"] if with_h else [])]
    for which, datasets in averaged(grid).items():
        rows = {}
        for method in grid.methods:
            cells = [grid.average(method, datasets, shots, metric(part, name)) for part in ("base", "new")]
            if with_h:
                cells.append(h_of_averages(grid, method, datasets, shots))
                cells.append(grid.average(method, datasets, shots, h_of_run))
            rows[method] = cells
        title = f"average over {len(datasets)} data set{'s' * (len(datasets) > 1)}{which}{at}"
        tables.append(_table(name, f"average{which.replace(' ', '_')}_{shots}", title, columns, rows))
        if with_h and ONE_CLASS in datasets:
            tables[-1].notes.append("busi has a single new class: accuracy there is 100 % by construction.")
    for dataset in grid.datasets:
        rows = {}
        for method in grid.methods:
            rows[method] = [grid.cell(method, dataset, shots, metric(part, name)) for part in ("base", "new")]
            if with_h:
                rows[method].append(grid.cell(method, dataset, shots, h_of_run))
        columns = ["base", "new", *(["H"] if with_h else [])]
        tables.append(_table(name, f"{dataset}_{shots}", f"{dataset}{at}", columns, rows))
    return tables


def _table(name: str, key: str, about: str, columns: list[str], values: dict[str, list[Value]]) -> Table:
    rows = [(method, [mean_cell(value) for value in cells]) for method, cells in values.items()]
    mark_best(rows, largest=name != "ece")
    title = f"{NAMES[name]} in %, {about}"
    return Table(f"{name}_{key}", title[0].upper() + title[1:], columns, rows, detail=name != "accuracy")
