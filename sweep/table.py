"""Tables of results: mean and 95 % interval over seeds; what is missing is shown as missing."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tabulate import tabulate

from runs.folder import is_complete
from runs.results import read_results
from sweep.facts import untrained_methods
from sweep.plan import Axes, run_for
from sweep.report.stats import interval

MISSING = "–"


def summary(grids: Sequence[Axes], output: Path) -> str:
    """One table per protocol and data set, under a title."""
    return "\n".join(_table(axes, dataset, output) for axes in grids for dataset in axes.datasets)


def _table(axes: Axes, dataset: str, output: Path) -> str:
    title = f"{dataset}, {axes.backbone}, {axes.protocol}, accuracy in %, mean ± 95 % interval over seeds"
    where = (output, dataset, axes.backbone, axes.methods)
    if axes.protocol == "few_shot":
        table = few_shot_table(*where, axes.shots, axes.seeds)
    else:
        table = base2new_table(*where, axes.shots[0], axes.seeds)
    return f"{title}\n\n{table}\n"


def cell(values: Sequence[float | None]) -> str:
    """ "mean ± interval", only the mean for a single value; a missing value makes the cell missing."""
    if not values or any(value is None for value in values):
        return MISSING
    mean = f"{np.mean(values):.2f}"
    return f"{mean} ± {interval(values):.2f}" if len(values) > 1 else mean


def few_shot_table(output: Path, dataset: str, backbone: str, methods, shots, seeds) -> str:
    """Accuracy in percent, methods by shots."""
    rows = []
    for method in methods:
        by_shots = [_runs("few_shot", dataset, backbone, method, k, seeds) for k in shots]
        rows.append([method, *(cell([_accuracies(output, run).get("all") for run in runs]) for runs in by_shots)])
    return tabulate(rows, headers=["method", *(f"K={k}" for k in shots)], tablefmt="github", disable_numparse=True)


def base2new_table(output: Path, dataset: str, backbone: str, methods, shots: int, seeds) -> str:
    """Accuracy in percent on base and new classes and their harmonic mean H (mean of the seeds' H)."""
    rows = []
    for method in methods:
        found = [_accuracies(output, run) for run in _runs("base2new", dataset, backbone, method, shots, seeds)]
        rows.append([method, *(cell([values.get(part) for values in found]) for part in ("base", "new", "H"))])
    return tabulate(rows, headers=["method", "base", "new", "H"], tablefmt="github", disable_numparse=True)


def _runs(protocol: str, dataset: str, backbone: str, method: str, shots: int, seeds) -> list:
    seeds = seeds[:1] if method in untrained_methods() else seeds
    return [run_for(protocol, dataset, backbone, method, shots, seed) for seed in seeds]


def _accuracies(output: Path, run) -> dict[str, float]:
    """Accuracies of a complete run by the classes they are of; empty for a run that is not complete."""
    folder = run.folder(output)
    if not is_complete(folder):
        return {}
    metrics = read_results(folder)["metrics"]
    return {name: value["accuracy"] if isinstance(value, dict) else value for name, value in metrics.items()}
