"""Tables of results: mean and 95 % interval over seeds; what is missing is shown as missing."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tabulate import tabulate

from sweep.plan import UNTRAINED, run_for
from sweep.report.stats import interval
from sweep.run import is_complete, read_results

MISSING = "–"


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
    seeds = seeds[:1] if method in UNTRAINED else seeds
    return [run_for(protocol, dataset, backbone, method, shots, seed) for seed in seeds]


def _accuracies(output: Path, run) -> dict[str, float]:
    """Accuracies of a complete run by the classes they are of; empty for a run that is not complete."""
    folder = run.folder(output)
    if not is_complete(folder):
        return {}
    metrics = read_results(folder)["metrics"]
    return {name: value["accuracy"] if isinstance(value, dict) else value for name, value in metrics.items()}
