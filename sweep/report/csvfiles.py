"""The report as CSV: one file with a row per run, one with a row per method and data set and columns by shots."""

from collections.abc import Collection, Sequence

from dassl.utils.csvtext import csv_text
from runs.results import harmonic
from runs.results_check import PARTS
from runs.run import ALL_SHOTS, Run, in_order
from sweep.report.accuracy import averaged, h_of_averages, h_of_run, stated
from sweep.report.collect import NUMBERS, Record
from sweep.report.grid import Grid, metric
from sweep.report.published import one_new_class, published
from sweep.report.stats import Value
from sweep.report.tables import Report

RUN = ("protocol", "dataset", "backbone", "method", "shots", "seed", "fold")
ENVIRONMENT = ("device", "torch", "git_commit", "git_changed_files")


def runs_csv(records: Sequence[Record]) -> str:
    """One row per complete run, with all digits."""
    names = [f"{part}_{name}" for part in PARTS for name in NUMBERS]
    about = ["seconds", "trainable_parameters", "peak_memory_bytes", "peak_memory_of", *ENVIRONMENT, "imported_from"]
    header = [*RUN, "variant", *names, "H", *about]
    rows = []
    for record in sorted(records, key=lambda record: (_name(record.run), record.variant)):
        metrics = [record.metrics.get(part, {}).get(name) for part in PARTS for name in NUMBERS]
        h = harmonic(*(record.metrics[p]["accuracy"] for p in ("base", "new"))) if "base" in record.metrics else None
        environment = dict(record.environment)
        memory = record.memory or (None, None)
        values = [record.seconds, record.parameters, *memory, *(environment.get(name) for name in ENVIRONMENT)]
        *name, fold = _name(record.run)
        rows.append([*name, fold or "", record.variant, *metrics, h, *values, record.imported])
    return csv_text(header, rows)


def _name(run: Run) -> tuple:
    return tuple(getattr(run, key) for key in RUN)


def wide_csv(report: Report) -> str:
    """A row per section, metric, classes, data set (or average) and method; mean, interval, missing runs per shots.

    The published averages follow, for the shots of the report.
    """
    shots = in_order(k for section in report.sections for k in section.grid.shots)
    # Methods that learn nothing, alone, have the number 0.
    labels = ["all" if k == ALL_SHOTS else f"K={k}" for k in shots]
    columns = [f"{label}{what}" for label in labels for what in ("", " interval", " missing runs")]
    header = ["protocol", "backbone", "variant", "metric", "classes", "dataset", "method", *columns]
    rows, beside = [], {}
    for grid in [section.grid for section in report.sections]:
        rows += _wide_rows(grid, shots)
        if set(grid.datasets) & set(published()["datasets"]):
            beside.setdefault((grid.protocol, grid.backbone), set()).update(grid.methods)
    for (protocol, backbone), methods in beside.items():
        rows += _published_rows(protocol, backbone, methods, shots)
    return csv_text(header, rows)


def _wide_rows(grid: Grid, shots: Sequence[int]) -> list[list]:
    parts = ("all",) if grid.protocol == "few_shot" else ("base", "new")
    kinds = [(name, part, metric(part, name)) for name in stated(grid) for part in parts]
    kinds += [("accuracy", "H", h_of_run)] if grid.protocol == "base2new" else []
    rows = []

    def add(name: str, part: str, dataset: str, method: str, values: dict[int, Value]) -> None:
        numbers = []
        for k in shots:
            value = values.get(k)
            numbers += [value.mean, value.half, value.missing] if value else [None, None, None]
        rows.append([grid.protocol, grid.backbone, grid.variant, name, part, dataset, method, *numbers])

    for method in grid.methods:
        for name, part, pick in kinds:
            for dataset in grid.datasets:
                add(name, part, dataset, method, {k: grid.cell(method, dataset, k, pick) for k in grid.shots})
            for which, datasets in averaged(grid).items():
                label = "mean of the data sets' H" if part == "H" else part
                average = {k: grid.average(method, datasets, k, pick) for k in grid.shots}
                add(name, label, f"average{which}", method, average)
        for which, datasets in averaged(grid).items() if grid.protocol == "base2new" else ():
            average = {k: h_of_averages(grid, method, datasets, k) for k in grid.shots}
            add("accuracy", "H of the averages", f"average{which}", method, average)
    return rows


def _published_rows(protocol: str, backbone: str, methods: Collection[str], shots: Sequence[int]) -> list[list]:
    """The published averages; their variant says whether they were printed or derived."""
    known, rows = published(), []

    def add(entry: dict, part: str, dataset: str, values: dict[int, float]) -> None:
        numbers = [number for k in shots for number in (values.get(k), None, None)]
        about = [protocol, backbone, f"published averages, {entry['kind']}", "accuracy", part, dataset, entry["method"]]
        rows.append([*about, *numbers])

    if backbone != known["backbone"]:
        return []
    if protocol == "few_shot":
        for entry in known["few_shot"]:
            add(entry, "all", "average", {int(k): value for k, value in entry["accuracy"].items()})
    else:
        for which, name in (("", "base2new"), (f" without {one_new_class()}", "base2new_without_one_new_class")):
            for entry in known[name]:
                # An average over 10 data sets is listed with those that leave one out.
                for part in ("base", "new") if entry.get("datasets") != 10 else ():
                    if entry.get(part) is not None:
                        add(entry, part, f"average{which}", {16: entry[part]})
    return [row for row in rows if row[6] in methods]
