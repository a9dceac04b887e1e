"""Plans are lists of runs."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sweep.run import Run

# Methods that learn nothing give the same numbers for every seed and shots: one run serves all columns.
UNTRAINED = frozenset({"ZeroShot", "ZeroShotEnsemble"})
FEW_SHOT_SHOTS = (1, 2, 4, 8, 16)
BASE2NEW_SHOTS = (16,)
PROTOCOLS = ("few_shot", "base2new")
SEEDS = (1, 2, 3)
MOST_ON_CPU, MOST_ON_GPU = 4, 16  # runs side by side in a process


class Axes(NamedTuple):
    """The axes of a grid of runs under one protocol, in the order in which `make_plan` takes them."""

    protocol: str
    datasets: Sequence[str]
    backbone: str
    methods: Sequence[str]
    shots: Sequence[int]
    seeds: Sequence[int]


def run_for(protocol: str, dataset: str, backbone: str, method: str, shots: int, seed: int) -> Run:
    """The run whose result stands in a table's cell."""
    return Run(protocol, dataset, backbone, method, *((0, 1) if method in UNTRAINED else (shots, seed)))


def make_plan(
    protocol: str,
    datasets: Iterable[str],
    backbone: str,
    methods: Iterable[str],
    shots: Iterable[int],
    seeds: Iterable[int],
) -> list[Run]:
    """All runs of a grid, once each, the long ones (many shots) first so that no slot idles at the end."""
    cells = {
        run_for(protocol, dataset, backbone, method, k, seed)
        for dataset in datasets
        for method in methods
        for k in shots
        for seed in seeds
    }
    return sorted(cells, key=lambda run: (run.dataset, -run.shots, run.method, run.seed))


def stacks(runs: Iterable[Run], most: int = 0, on_gpu: bool = False) -> list[list[Run]]:
    """Groups of runs that are trained side by side in a process.

    Args:
        runs: of a plan.
        most: how many at most in a group; 0 for what suits the device.
        on_gpu: runs that differ in shots are grouped too, since the time of a step hardly depends there on how many
            there are; on a CPU only the seeds of a cell.
    """
    most = most or (MOST_ON_GPU if on_gpu else MOST_ON_CPU)
    alike: dict[tuple, list[Run]] = {}
    for run in runs:
        key = (run.protocol, run.dataset, run.backbone, run.method, None if on_gpu else run.shots)
        alike.setdefault(key, []).append(run)
    return [group[k : k + most] for group in alike.values() for k in range(0, len(group), most)]
