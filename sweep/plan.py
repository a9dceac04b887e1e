"""Plans are lists of runs."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from runs.run import Run, in_order, shots_in_words

FEW_SHOT_SHOTS = (1, 2, 4, 8, 16)
BASE2NEW_SHOTS = (16,)
PROTOCOLS = ("few_shot", "base2new")
SEEDS = (1, 2, 3)
MOST_ON_CPU, MOST_ON_GPU = 4, 16  # runs in a stack


class Axes(NamedTuple):
    """The axes of a grid of runs under one protocol, in the order in which `make_plan` takes them."""

    protocol: str
    datasets: Sequence[str]
    backbone: str
    methods: Sequence[str]
    shots: Sequence[int]
    seeds: Sequence[int]
    folds: int = 0


class Series(NamedTuple):
    """Runs on one backbone that differ in shots, seed and fold only; all other settings are the same."""

    method: str
    dataset: str
    protocol: str

    @classmethod
    def of(cls, run: Run) -> "Series":
        return cls(run.method, run.dataset, run.protocol)


def run_for(protocol: str, dataset: str, backbone: str, method: str, shots: int, seed: int, fold: int = 0) -> Run:
    """The run that gives the result of a table's cell: for a method that learns nothing, one run for all cells."""
    from configs import untrained_methods  # imports torch, which reports do without

    return Run(protocol, dataset, backbone, method, *((0, 1) if method in untrained_methods() else (shots, seed)), fold)


def make_plan(
    protocol: str,
    datasets: Iterable[str],
    backbone: str,
    methods: Iterable[str],
    shots: Iterable[int],
    seeds: Iterable[int],
    folds: int = 0,
) -> list[Run]:
    """All runs of a grid, once each; those with many shots take longest and come first, so that no worker idles.

    With folds there is a run for each of them, instead of one.
    """
    from configs import untrained_methods

    untrained = untrained_methods()
    cells = {
        Run(protocol, dataset, backbone, method, *((0, 1) if method in untrained else (k, seed)), fold)
        for dataset in datasets
        for method in methods
        for k in shots
        for seed in seeds
        for fold in (range(1, folds + 1) if folds else (0,))
    }
    place = {number: k for k, number in enumerate(in_order(run.shots for run in cells))}
    return sorted(cells, key=lambda run: (run.dataset, -place[run.shots], run.method, run.seed, run.fold))


def name_of(run: Run, grids: Iterable[Axes]) -> str:
    """The run in words; that of a method that learns nothing has the shots and seeds that were asked for."""
    if run.shots:
        return str(run)
    asked = [axes for axes in grids if axes.protocol == run.protocol]
    shots = in_order(number for axes in asked for number in axes.shots)
    seeds = sorted({seed for axes in asked for seed in axes.seeds})
    cells = f"{shots_in_words(*shots)}, seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"
    return run.described(f"{cells}: one run, as it learns nothing")


def stacks(runs: Iterable[Run], most: int = 0, on_gpu: bool = False) -> list[list[Run]]:
    """Group runs into stacks, which are trained in one step by one process.

    Args:
        runs: the runs of a plan.
        most: the largest number of runs in a stack; 0 for what suits the device.
        on_gpu: put runs with different shots into a stack too. On a GPU the time of a step hardly depends on the
            number of runs; on a CPU a stack has runs that differ in their seeds and folds only.
    """
    most = most or (MOST_ON_GPU if on_gpu else MOST_ON_CPU)
    alike: dict[tuple, list[Run]] = {}
    for run in runs:
        alike.setdefault((Series.of(run), run.backbone, None if on_gpu else run.shots), []).append(run)
    return [group[k : k + most] for group in alike.values() for k in range(0, len(group), most)]
