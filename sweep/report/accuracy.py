"""Tables of accuracy and the other metrics of a test: averages over data sets, and each data set by itself."""

from collections.abc import Sequence

from runs.results import harmonic
from sweep.report.collect import Record
from sweep.report.grid import Grid, key_of, metric
from sweep.report.published import one_new_class
from sweep.report.stats import Value, mean, over_seeds
from sweep.report.tables import Table, mark_best, mean_cell, shots_label

NAMES = {
    "accuracy": "accuracy in %",
    "macro_f1": "macro-F1 in %",
    "balanced_accuracy": "balanced accuracy in %",
    "auroc": "AUROC in %",
    "brier": "Brier score",
    "ece": "expected calibration error in %",
}
SMALLEST_IS_BEST = ("brier", "ece")
DIGITS = {"brier": 4}  # of a metric that is not in percent
OF_IMAGES = (
    "In brackets: the 95 % bootstrap interval over the test images, as the mean of the runs' lower and upper bounds."
)


def h_of_run(record: Record) -> float | None:
    return harmonic(record.metrics["base"]["accuracy"], record.metrics["new"]["accuracy"])


def h_of_averages(grid: Grid, method: str, datasets: Sequence[str], shots: int) -> Value:
    """H of the two averages; its interval is that of the H of each seed's averages."""
    base, new = (grid.averages(method, datasets, shots, metric(part, "accuracy")) for part in ("base", "new"))
    seeds = over_seeds([harmonic(*pair) for pair in zip(base, new, strict=True)], grid.missing(method, datasets, shots))
    if seeds.mean is None:
        return seeds
    return Value(harmonic(over_seeds(base).mean, over_seeds(new).mean), seeds.half)


def metric_tables(grid: Grid) -> list[Table]:
    """For each metric the averages, where there are several data sets, then each data set."""
    tables = []
    for name in stated(grid):
        for shots in table_shots(grid):
            tables += _averages(grid, name, shots)
            tables += [dataset_table(grid, name, dataset, shots) for dataset in grid.datasets]
    return tables


def stated(grid: Grid) -> list[str]:
    """The metrics that have tables: accuracy, and each that a run of the section states."""
    of_runs = [metrics for record in grid.records.values() for metrics in record.metrics.values()]
    return [name for name in NAMES if name == "accuracy" or any(found[name] is not None for found in of_runs)]


def table_shots(grid: Grid) -> tuple[int | None, ...]:
    """The shots that have tables of their own: each for base-to-new; for few-shot, None: one table has them all."""
    return (None,) if grid.protocol == "few_shot" else grid.shots


def averaged(grid: Grid) -> dict[str, tuple[str, ...]]:
    """The data sets that averages are taken over: all, and for base-to-new also those without the one new class."""
    if len(grid.datasets) == 1:
        return {}
    left_out = one_new_class()
    if grid.protocol == "few_shot" or left_out not in grid.datasets:
        return {"": grid.datasets}
    return {"": grid.datasets, f" without {left_out}": tuple(name for name in grid.datasets if name != left_out)}


def dataset_table(grid: Grid, name: str, dataset: str, shots: int | None) -> Table:
    """The table of a metric on one data set: methods by shots, or by base, new and H for one number of shots."""
    if shots is None:
        pick, columns = metric("all", name), [shots_label(k) for k in grid.shots]
        rows = {m: [grid.cell(m, dataset, k, pick) for k in grid.shots] for m in grid.methods}
        table = _table(name, key_of(dataset), dataset, columns, rows)
        return _with_intervals(table, grid, dataset, [("all", k) for k in grid.shots])
    picks = {part: metric(part, name) for part in ("base", "new")} | ({"H": h_of_run} if name == "accuracy" else {})
    rows = {m: [grid.cell(m, dataset, shots, pick) for pick in picks.values()] for m in grid.methods}
    table = _table(name, f"{key_of(dataset)}_{shots}", f"{dataset}{_at(shots)}", list(picks), rows)
    return _with_intervals(table, grid, dataset, [(part, shots) for part in picks])


def _with_intervals(table: Table, grid: Grid, dataset: str, columns: Sequence[tuple[str, int]]) -> Table:
    """Add the intervals over images to a table of AUROC, whose columns are of some parts and shots."""
    if not table.key.startswith("auroc_"):
        return table
    for method, cells in table.rows:
        for cell, (part, shots) in zip(cells, columns, strict=True):
            bounds = [
                mean(grid.values(method, dataset, shots, metric(part, f"auroc_{end}"))) for end in ("low", "high")
            ]
            if None not in bounds and not cell.is_missing:
                cell.text += " [{:.2f}, {:.2f}]".format(*bounds)
    table.notes.append(OF_IMAGES)
    return table


def _averages(grid: Grid, name: str, shots: int | None) -> list[Table]:
    make = _few_shot_average if shots is None else _base2new_average
    return [make(grid, name, which, datasets, shots) for which, datasets in averaged(grid).items()]


def _few_shot_average(grid: Grid, name: str, which: str, datasets: Sequence[str], _: None) -> Table:
    pick, columns = metric("all", name), [shots_label(k) for k in grid.shots]
    rows = {m: [grid.average(m, datasets, k, pick) for k in grid.shots] for m in grid.methods}
    return _table(name, "average", f"average over {len(datasets)} data sets{which}", columns, rows)


def _base2new_average(grid: Grid, name: str, which: str, datasets: Sequence[str], shots: int) -> Table:
    columns, rows = ["base", "new"], {}
    for method in grid.methods:
        rows[method] = [grid.average(method, datasets, shots, metric(part, name)) for part in columns]
        if name == "accuracy":
            rows[method].append(h_of_averages(grid, method, datasets, shots))
            rows[method].append(grid.average(method, datasets, shots, h_of_run))
    if name == "accuracy":
        columns = [*columns, "H of the averages", "mean of the data sets' H"]
    about = f"average over {len(datasets)} data set{'s' * (len(datasets) > 1)}{which}{_at(shots)}"
    table = _table(name, f"average{which.replace(' ', '_')}_{shots}", about, columns, rows)
    if name == "accuracy" and one_new_class() in datasets:
        table.notes.append(f"{one_new_class()} has a single new class: accuracy there is 100 % by construction.")
    return table


def _at(shots: int) -> str:
    return f", {shots_label(shots)}" if shots else ""


def _table(name: str, key: str, about: str, columns: list[str], values: dict[str, list[Value]]) -> Table:
    digits = DIGITS.get(name, 2)
    rows = [(method, [mean_cell(value, digits) for value in cells]) for method, cells in values.items()]
    mark_best(rows, largest=name not in SMALLEST_IS_BEST)
    title = f"{NAMES[name]}, {about}"
    return Table(f"{name}_{key}", title[0].upper() + title[1:], columns, rows, detail=name != "accuracy")
