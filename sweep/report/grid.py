"""One section's runs as a grid: methods x datasets x shots x seeds, with what is missing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from runs.run import Run
from sweep.plan import UNTRAINED, run_for
from sweep.report.collect import Collected, Record, Selection
from sweep.report.stats import Value, over_datasets, over_seeds

Pick = Callable[[Record], float | None]
PROTOCOL_NAMES = {"few_shot": "Few-shot", "base2new": "Base-to-new"}


def metric(part: str, name: str) -> Pick:
    """Reads a metric of the test images of a part of the classes."""
    return lambda record: record.metrics[part][name]


@dataclass
class Grid:
    """The runs of one (protocol, backbone, variant); shots (0,) where only methods that learn nothing were run."""

    protocol: str
    backbone: str
    variant: str
    datasets: tuple[str, ...]
    methods: tuple[str, ...]
    shots: tuple[int, ...]
    seeds: tuple[int, ...]
    records: dict[Run, Record]

    @property
    def key(self) -> str:
        return f"{self.protocol}_{self.backbone}_{self.variant}"

    @property
    def title(self) -> str:
        return f"{PROTOCOL_NAMES[self.protocol]}, {self.backbone}, {self.variant}"

    def run(self, method: str, dataset: str, shots: int, seed: int) -> Run:
        return run_for(self.protocol, dataset, self.backbone, method, shots, seed)

    def seeds_of(self, method: str) -> tuple[int, ...]:
        """The seeds over which a method's mean is taken; one for methods that learn nothing."""
        return self.seeds[:1] if method in UNTRAINED else self.seeds

    @cached_property
    def _cells(self) -> dict[tuple[str, str, int], list[Record | None]]:
        """Records by method, data set and shots, one per seed."""
        return {
            (method, dataset, shots): [
                self.records.get(self.run(method, dataset, shots, seed)) for seed in self.seeds_of(method)
            ]
            for method in self.methods
            for dataset in self.datasets
            for shots in self.shots
        }

    def values(self, method: str, dataset: str, shots: int, pick: Pick) -> list[float | None]:
        """One value per seed; None where the run or its value is missing."""
        return [None if record is None else pick(record) for record in self._cells[method, dataset, shots]]

    def missing(self, method: str, datasets: Sequence[str], shots: int) -> int:
        """How many runs of a cell are not there."""
        return sum(self._cells[method, dataset, shots].count(None) for dataset in datasets)

    def cell(self, method: str, dataset: str, shots: int, pick: Pick) -> Value:
        """Mean over seeds."""
        return over_seeds(self.values(method, dataset, shots, pick), self.missing(method, [dataset], shots))

    def averages(self, method: str, datasets: Sequence[str], shots: int, pick: Pick) -> list[float | None]:
        """Per seed, the mean over data sets; None where a run is missing."""
        return over_datasets([self.values(method, dataset, shots, pick) for dataset in datasets])

    def average(self, method: str, datasets: Sequence[str], shots: int, pick: Pick) -> Value:
        """Mean over seeds of the seeds' averages over data sets."""
        averages = self.averages(method, datasets, shots, pick)
        return over_seeds(averages, self.missing(method, datasets, shots))

    def pairs(self, method: str, shots: int, pick: Pick) -> list[float | None]:
        """One value per (data set, seed); a method that learns nothing has the same value at every seed."""
        values = []
        for dataset in self.datasets:
            found = self.values(method, dataset, shots, pick)
            values += found * len(self.seeds) if method in UNTRAINED else found
        return values

    def expected(self) -> list[Run]:
        """All runs of the grid, once each."""
        cells = {
            self.run(method, dataset, shots, seed)
            for method in self.methods
            for dataset in self.datasets
            for shots in self.shots
            for seed in self.seeds_of(method)
        }
        return sorted(cells)


def grids(found: Collected, selection: Selection) -> list[Grid]:
    """A grid per (protocol, backbone, variant) with complete runs, of all words that occur or were asked for.

    Runs that were started or are damaged widen the grid of their protocol and backbone: they are shown as missing.
    """
    by_section: dict[tuple[str, str, str], dict[Run, Record]] = {}
    for (variant, run), record in found.records.items():
        by_section.setdefault((run.protocol, run.backbone, variant), {})[run] = record
    others = [*found.started, *(run for run, _ in found.damaged)]
    made = []
    for (protocol, backbone, variant), records in sorted(by_section.items(), key=_order):
        runs = [*records, *(run for run in others if (run.protocol, run.backbone) == (protocol, backbone))]
        trained = [run for run in runs if run.method not in UNTRAINED]
        made.append(
            Grid(
                protocol,
                backbone,
                variant,
                selection.datasets or tuple(sorted({run.dataset for run in runs})),
                selection.methods or tuple(sorted({run.method for run in runs}, key=_method_order)),
                selection.shots or tuple(sorted({run.shots for run in trained})) or (0,),
                selection.seeds or tuple(sorted({run.seed for run in trained})) or (1,),
                records,
            )
        )
    return made


def _order(item: tuple) -> tuple:
    (protocol, backbone, variant), _ = item
    return protocol == "base2new", backbone, variant


def _method_order(method: str) -> tuple:
    return method not in UNTRAINED, method.casefold()
