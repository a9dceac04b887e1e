"""The report as CSV: a row per run, and a row per method and data set with columns by shots."""

import csv
import io
from collections.abc import Collection, Sequence

from runs.results import harmonic
from sweep.report.accuracy import NAMES, ONE_CLASS, averaged, h_of_averages, h_of_run
from sweep.report.collect import METRICS, Record
from sweep.report.comparisons import published
from sweep.report.grid import Grid, metric
from sweep.report.stats import Value
from sweep.report.tables import Report

PARTS = ("all", "base", "new")
WORDS = ("protocol", "dataset", "backbone", "method", "shots", "seed")
ENVIRONMENT = ("device", "torch", "git_commit", "git_changed_files")


def runs_csv(records: Sequence[Record]) -> str:
    """Long form: one row per complete run, numbers in full."""
    names = [f"{part}_{name}" for part in PARTS for name in METRICS]
    header = [*WORDS, "variant", *names, "H", "seconds", "learned_parameters", *ENVIRONMENT, "imported_from"]
    rows = []
    for record in sorted(records, key=lambda record: (record.run, record.variant)):
        metrics = [record.metrics.get(part, {}).get(name) for part in PARTS for name in METRICS]
        h = harmonic(*(record.metrics[p]["accuracy"] for p in ("base", "new"))) if "base" in record.metrics else None
        environment = dict(record.environment)
        about = [record.seconds, record.parameters, *(environment.get(name) for name in ENVIRONMENT), record.imported]
        rows.append([*(getattr(record.run, word) for word in WORDS), record.variant, *metrics, h, *about])
    return _csv(header, rows)


def wide_csv(report: Report) -> str:
    """A row per section, metric, classes, data set (or average) and method; mean, interval, missing runs per shots.

    The published averages follow, in the columns of the shots that are here.
    """
    shots = sorted({k for section in report.sections for k in section.grid.shots})
    columns = [f"K={k}{what}" for k in shots for what in ("", " interval", " missing runs")]
    header = ["protocol", "backbone", "variant", "metric", "classes", "dataset", "method", *columns]
    rows, beside = [], {}
    for grid in [section.grid for section in report.sections]:
        rows += _wide_rows(grid, shots)
        if set(grid.datasets) & set(published()["datasets"]):
            beside.setdefault((grid.protocol, grid.backbone), set()).update(grid.methods)
    for (protocol, backbone), methods in beside.items():
        rows += _published_rows(protocol, backbone, methods, shots)
    return _csv(header, rows)


def _wide_rows(grid: Grid, shots: Sequence[int]) -> list[list]:
    parts = ("all",) if grid.protocol == "few_shot" else ("base", "new")
    kinds = [(name, part, metric(part, name)) for name in NAMES for part in parts]
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
    """The published averages, as a variant that says how they are known."""
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
        for which, name in (("", "base2new"), (f" without {ONE_CLASS}", "base2new_without_busi")):
            for entry in known[name]:
                # A row of 10 data sets stands among those without busi.
                for part in ("base", "new") if entry.get("datasets") != 10 else ():
                    if entry.get(part) is not None:
                        add(entry, part, f"average{which}", {16: entry[part]})
    return [row for row in rows if row[6] in methods]


def _csv(header: Sequence[str], rows: Sequence[Sequence]) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return file.getvalue()
