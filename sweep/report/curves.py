"""Accuracy over shots: one curve figure per data set, and one of the average."""

from dataclasses import dataclass

from sweep.report.escape import file_name
from sweep.report.grid import Grid, key_of, metric
from sweep.report.stats import Value


@dataclass(frozen=True)
class Curve:
    """The content of one figure.

    Attributes:
        name: of its file, without the suffix.
        of: the data set, or the average.
        section: title of the report's section.
        shots: the values of the horizontal axis.
        lines: one value per shots for each method.
        untrained: the methods that learn nothing, in a fixed order.
    """

    name: str
    of: str
    section: str
    shots: tuple[int, ...]
    lines: tuple[tuple[str, tuple[Value, ...]], ...]
    untrained: tuple[str, ...]

    @property
    def title(self) -> str:
        return f"{self.of}: {self.section}"

    @property
    def is_empty(self) -> bool:
        return not any(value.mean is not None for _, values in self.lines for value in values)


def accuracy_curves(grid: Grid) -> list[Curve]:
    """The curves of a section, the average first; base-to-new has one number of shots and no curve."""
    shots = tuple(k for k in grid.shots if k > 0)  # all images are no number on the axis
    if grid.protocol != "few_shot" or len(shots) < 2:
        return []
    pick = metric("all", "accuracy")
    lines = {
        dataset: [(m, tuple(grid.cell(m, dataset, k, pick) for k in shots)) for m in grid.methods]
        for dataset in grid.datasets
    }
    if len(grid.datasets) > 1:
        average = [(m, tuple(grid.average(m, grid.datasets, k, pick) for k in shots)) for m in grid.methods]
        lines = {f"average of {len(grid.datasets)} data sets": average, **lines}
    untrained = tuple(method for method in grid.methods if method in grid.untrained)
    names = {of: file_name(key_of(of)) for of in lines}
    if len(grid.datasets) > 1:
        names[next(iter(lines))] = "average"
    curves = [Curve(names[of], of, grid.title, shots, tuple(found), untrained) for of, found in lines.items()]
    return [curve for curve in curves if not curve.is_empty]
