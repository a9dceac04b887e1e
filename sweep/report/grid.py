"""The runs of one section of a report as a grid of methods x data sets x shots x seeds, with missing runs counted."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from runs.run import Run
from sweep.report.collect import Collected, Record, Selection, learns_nothing
from sweep.report.stats import Value, over_datasets, over_seeds

Metric = Callable[[Record], float | None]
PROTOCOL_NAMES = {"few_shot": "Few-shot", "base2new": "Base-to-new"}
REFERENCES = ("CoOp", "BiomedDPT")  # the methods that all others are compared with


def metric(part: str, name: str) -> Metric:
    """A function that reads one metric of one part of the classes from a record."""
    return lambda record: record.metrics[part][name]


@dataclass
class Grid:
    """The runs of one (protocol, backbone, variant).

    Attributes:
        shots: (0,) where all methods learn nothing.
        untrained: the methods that learn nothing; their single run has shots 0 and seed 1 and fills every column.
        records: the complete runs.
    """

    protocol: str
    backbone: str
    variant: str
    datasets: tuple[str, ...]
    methods: tuple[str, ...]
    shots: tuple[int, ...]
    seeds: tuple[int, ...]
    untrained: frozenset[str]
    records: dict[Run, Record]

    @property
    def key(self) -> str:
        return f"{self.protocol}_{self.backbone}_{self.variant}"

    @property
    def title(self) -> str:
        return f"{PROTOCOL_NAMES[self.protocol]}, {self.backbone}, {self.variant}"

    def runs(self, method: str, dataset: str, shots: int) -> list[Run]:
        """The runs whose mean is shown in a cell: one per seed, or the single run of a method that learns nothing."""
        cells = [(0, 1)] if method in self.untrained else [(shots, seed) for seed in self.seeds]
        return [Run(self.protocol, dataset, self.backbone, method, *cell) for cell in cells]

    @cached_property
    def _cells(self) -> dict[tuple[str, str, int], list[Record | None]]:
        """Records by method, data set and shots, one per seed."""
        return {
            (method, dataset, shots): [self.records.get(run) for run in self.runs(method, dataset, shots)]
            for method in self.methods
            for dataset in self.datasets
            for shots in self.shots
        }

    def values(self, method: str, dataset: str, shots: int, pick: Metric) -> list[float | None]:
        """One value per seed; None where the run or its value is missing."""
        return [None if record is None else pick(record) for record in self._cells[method, dataset, shots]]

    def missing(self, method: str, datasets: Sequence[str], shots: int) -> int:
        """The number of missing runs."""
        return sum(self._cells[method, dataset, shots].count(None) for dataset in datasets)

    def cell(self, method: str, dataset: str, shots: int, pick: Metric) -> Value:
        """Mean over seeds."""
        return over_seeds(self.values(method, dataset, shots, pick), self.missing(method, [dataset], shots))

    def averages(self, method: str, datasets: Sequence[str], shots: int, pick: Metric) -> list[float | None]:
        """Per seed, the mean over data sets; None where a run is missing."""
        return over_datasets([self.values(method, dataset, shots, pick) for dataset in datasets])

    def average(self, method: str, datasets: Sequence[str], shots: int, pick: Metric) -> Value:
        """Mean over seeds of each seed's average over data sets."""
        averages = self.averages(method, datasets, shots, pick)
        return over_seeds(averages, self.missing(method, datasets, shots))

    def pairs(self, method: str, shots: int, pick: Metric) -> list[float | None]:
        """One value per (data set, seed); a method that learns nothing has the same value for every seed."""
        values = []
        for dataset in self.datasets:
            found = self.values(method, dataset, shots, pick)
            values += found * len(self.seeds) if method in self.untrained else found
        return values

    def expected(self) -> list[Run]:
        """All runs of the grid, once each."""
        return sorted({run for cell in self._cells for run in self.runs(*cell)})


def grids(found: Collected, selection: Selection) -> list[Grid]:
    """A grid for each (protocol, backbone, variant) with complete runs.

    Its axes are those of the selection, or all values that occur. Runs that were started or are damaged count for the
    axes of their protocol and backbone: they are shown as missing.
    """
    untrained = found.untrained()
    by_section: dict[tuple[str, str, str], dict[Run, Record]] = {}
    for (variant, run), record in found.records.items():
        # train.py alone may have put a method that learns nothing below other shots, too.
        if learns_nothing(run) or run.method not in untrained:
            by_section.setdefault((run.protocol, run.backbone, variant), {})[run] = record
    others = [*found.started, *(run for run, _ in found.damaged)]
    made = []
    for (protocol, backbone, variant), records in sorted(by_section.items(), key=_order):
        runs = [*records, *(run for run in others if (run.protocol, run.backbone) == (protocol, backbone))]
        trained = [run for run in runs if run.method not in untrained]
        methods = sorted({run.method for run in runs}, key=lambda method: (method not in untrained, method.casefold()))
        made.append(
            Grid(
                protocol,
                backbone,
                variant,
                selection.datasets or tuple(sorted({run.dataset for run in runs})),
                selection.methods or tuple(methods),
                selection.shots or tuple(sorted({run.shots for run in trained})) or (0,),
                selection.seeds or tuple(sorted({run.seed for run in trained})) or (1,),
                untrained,
                records,
            )
        )
    return made


def _order(item: tuple) -> tuple:
    (protocol, backbone, variant), _ = item
    return protocol == "base2new", backbone, variant
