"""The runs of one section of a report as a grid of methods x data sets x shots x seeds, with missing runs counted."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property

from runs.run import Run, in_order
from sweep.report.collect import Collected, Record, Selection, learns_nothing
from sweep.report.escape import file_name
from sweep.report.stats import Value, mean, over_datasets, over_folds, over_seeds

Metric = Callable[[Record], float | None]
PROTOCOL_NAMES = {"few_shot": "Few-shot", "base2new": "Base-to-new"}
REFERENCES = ("CoOp", "BiomedDPT")  # the methods that all others are compared with


@cache
def metric(part: str, name: str) -> Metric:
    """A function that reads one metric of one part of the classes from a record; the same one each time."""
    return lambda record: record.metrics[part][name]


def key_of(dataset: str) -> str:
    """The name of a data set in the keys of tables and pictures, apart from those of averages."""
    return f"data_set_{dataset}" if dataset.startswith("average") else dataset


@dataclass
class Grid:
    """The runs of one (protocol, backbone, variant, number of folds).

    A value of a seed is the mean over its folds: with cross-validation each image is tested once per seed.

    Attributes:
        folds: of the cross-validation; 0 without one.
        shots: (0,) where all methods learn nothing.
        untrained: the methods that learn nothing; their single run has shots 0 and seed 1 and fills every column.
        records: the complete runs.
    """

    protocol: str
    backbone: str
    variant: str
    folds: int
    datasets: tuple[str, ...]
    methods: tuple[str, ...]
    shots: tuple[int, ...]
    seeds: tuple[int, ...]
    untrained: frozenset[str]
    records: dict[Run, Record]
    _values: dict[tuple, list[float | None]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def key(self) -> str:
        folds = f"_{self.folds}folds" if self.folds else ""
        return file_name(f"{self.protocol}_{self.backbone}_{self.variant}{folds}")

    @property
    def title(self) -> str:
        folds = f", {self.folds} folds" if self.folds else ""
        return f"{PROTOCOL_NAMES[self.protocol]}, {self.backbone}, {self.variant}{folds}"

    def runs(self, method: str, dataset: str, shots: int) -> list[list[Run]]:
        """The runs whose mean is shown in a cell, by seed: one, or one per fold.

        A method that learns nothing has one seed.
        """
        cells = [(0, 1)] if method in self.untrained else [(shots, seed) for seed in self.seeds]
        folds = range(1, self.folds + 1) if self.folds else (0,)
        return [[Run(self.protocol, dataset, self.backbone, method, *cell, fold) for fold in folds] for cell in cells]

    @cached_property
    def _cells(self) -> dict[tuple[str, str, int], list[list[Record | None]]]:
        """Records by method, data set and shots: a list per seed, with a record per fold."""
        return {
            (method, dataset, shots): [
                [self.records.get(run) for run in of_seed] for of_seed in self.runs(method, dataset, shots)
            ]
            for method in self.methods
            for dataset in self.datasets
            for shots in self.shots
        }

    @cached_property
    def _missing(self) -> dict[tuple[str, str, int], int]:
        return {cell: sum(folds.count(None) for folds in found) for cell, found in self._cells.items()}

    def values(self, method: str, dataset: str, shots: int, pick: Metric) -> list[float | None]:
        """One value per seed; None where a run or its value is missing."""
        key = (method, dataset, shots, pick)
        if key not in self._values:  # tables, averages and tests read the same values
            cell = self._cells[method, dataset, shots]
            if self.folds:
                self._values[key] = [mean(_picked(folds, pick)) for folds in cell]
            else:
                self._values[key] = [None if record is None else pick(record) for (record,) in cell]
        return self._values[key]

    def missing(self, method: str, datasets: Sequence[str], shots: int) -> int:
        """The number of missing runs."""
        return sum(self._missing[method, dataset, shots] for dataset in datasets)

    def complete(self, method: str, dataset: str, shots: int) -> list[Record]:
        """The records of a cell, by seed and fold; none if a run is missing."""
        records = [record for folds in self._cells[method, dataset, shots] for record in folds]
        return [] if None in records else records

    def found(self, dataset: str, shots: int) -> list[Record]:
        """The records of a data set, of all methods."""
        cells = (self._cells[method, dataset, shots] for method in self.methods)
        return [record for cell in cells for folds in cell for record in folds if record is not None]

    def cell(self, method: str, dataset: str, shots: int, pick: Metric) -> Value:
        """Mean over seeds; for one seed of a cross-validation with the standard deviation over its folds."""
        missing = self.missing(method, [dataset], shots)
        if self.folds and len(self.seeds) == 1:
            return over_folds(_picked(self._cells[method, dataset, shots][0], pick), missing)
        return over_seeds(self.values(method, dataset, shots, pick), missing)

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
        return sorted({run for cell in self._cells for of_seed in self.runs(*cell) for run in of_seed})


def _picked(records: Sequence[Record | None], pick: Metric) -> list[float | None]:
    return [None if record is None else pick(record) for record in records]


def grids(found: Collected, selection: Selection) -> list[Grid]:
    """A grid for each (protocol, backbone, variant, number of folds) with complete runs.

    Its axes are those of the selection, or all values that occur. Runs without numbers count for the axes of their
    protocol and backbone, those of a fold where there are folds: they are shown as missing.
    """
    untrained = found.untrained()
    by_section: dict[tuple[str, str, str, int], dict[Run, Record]] = {}
    for (variant, run), record in found.records.items():
        # train.py alone may have put a method that learns nothing below other shots, too.
        if learns_nothing(run) or run.method not in untrained:
            by_section.setdefault((run.protocol, run.backbone, variant, record.folds), {})[run] = record
    others = found.without_result()
    made = []
    for (protocol, backbone, variant, folds), records in sorted(by_section.items(), key=_order):
        place = (protocol, backbone, bool(folds))
        runs = [*records, *(run for run in others if (run.protocol, run.backbone, bool(run.fold)) == place)]
        trained = [run for run in runs if run.method not in untrained]
        methods = sorted({run.method for run in runs}, key=lambda method: (method not in untrained, method.casefold()))
        made.append(
            Grid(
                protocol,
                backbone,
                variant,
                folds,
                selection.datasets or tuple(sorted({run.dataset for run in runs})),
                selection.methods or tuple(methods),
                tuple(selection.shots or in_order(run.shots for run in trained)) or (0,),
                selection.seeds or tuple(sorted({run.seed for run in trained})) or (1,),
                untrained,
                records,
            )
        )
    return made


def _order(item: tuple) -> tuple:
    (protocol, backbone, variant, folds), _ = item
    return protocol == "base2new", backbone, variant, folds
