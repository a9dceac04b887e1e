"""The report as CSV: a row per run, and a row per method and data set with columns by shots."""

import csv
import io
from collections.abc import Sequence

from sweep.report.accuracy import NAMES, h_of_averages, h_of_run, metric
from sweep.report.collect import METRICS, Record
from sweep.report.grid import Grid
from sweep.report.stats import Value, harmonic
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
    """A row per section, metric, classes, data set (or average) and method; mean, interval, missing runs per shots."""
    shots = sorted({k for section in report.sections for k in section.grid.shots})
    columns = [f"K={k}{what}" for k in shots for what in ("", " interval", " missing runs")]
    header = ["protocol", "backbone", "variant", "metric", "classes", "dataset", "method", *columns]
    rows = [row for section in report.sections for row in _wide_rows(section.grid, shots)]
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
            if len(grid.datasets) > 1:
                label = "mean of the data sets' H" if part == "H" else part
                average = {k: grid.average(method, grid.datasets, k, pick) for k in grid.shots}
                add(name, label, "average", method, average)
        if grid.protocol == "base2new" and len(grid.datasets) > 1:
            average = {k: h_of_averages(grid, method, grid.datasets, k) for k in grid.shots}
            add("accuracy", "H of the averages", "average", method, average)
    return rows


def _csv(header: Sequence[str], rows: Sequence[Sequence]) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return file.getvalue()
