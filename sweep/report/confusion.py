"""Confusion matrices of the cells of a section, summed over seeds and folds."""

from collections.abc import Sequence
from dataclasses import dataclass

from runs.run import shots_in_words
from sweep.report.collect import Record
from sweep.report.escape import file_name
from sweep.report.grid import Grid, key_of


@dataclass(frozen=True)
class Matrix:
    """The content of one picture.

    Attributes:
        path: of its file within the folder of the section, without the suffix.
        title: names the data set, the method and the runs.
        classes: the C class names.
        counts: C rows of C counts: a row per true class, a column per predicted class.
    """

    path: str
    title: str
    classes: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]

    @property
    def alt(self) -> str:
        """The picture in one sentence: how many images are right, and which classes are taken for each other most."""
        total, right = sum(map(sum, self.counts)), sum(row[k] for k, row in enumerate(self.counts))
        wrong = [
            (count, true, found)
            for true, row in zip(self.classes, self.counts, strict=True)
            for found, count in zip(self.classes, row, strict=True)
            if true != found
        ]
        most, true, found = max(wrong, key=lambda entry: entry[0], default=(0, "", ""))
        mistaken = f"; most often wrong: {true}, taken for {found} ({most:,})" if most else ""
        return f"Confusion matrix, {self.title}: {right:,} of {total:,} images are classified correctly{mistaken}"


def matrices(grid: Grid) -> list[Matrix]:
    """A matrix per data set and method, for base-to-new one of each part, at the largest number of shots.

    A cell with a missing run, or with a run that states no matrix, has none.
    """
    shots, found = grid.shots[-1], []
    for dataset in grid.datasets:
        for method in grid.methods:
            records = grid.complete(method, dataset, shots)
            for part in records[0].confusion if records else ():
                if matrix := _sum(records, part):
                    of = f" ({part} classes)" if part != "all" else ""
                    runs = f"{len(records)} run{'s' * (len(records) > 1)}"
                    trained = f", {shots_in_words(shots)}" if shots and method not in grid.untrained else ""
                    title = f"{method} on {dataset}{of}{trained}, {runs}"
                    name = file_name(method if part == "all" else f"{method}_{part}")
                    found.append(Matrix(f"{file_name(key_of(dataset))}/{name}", title, *matrix))
    return found


def _sum(records: Sequence[Record], part: str) -> tuple[tuple[str, ...], tuple[tuple[int, ...], ...]] | None:
    """Classes and summed counts; None where a run has no counts, or those of other classes."""
    classes = {tuple(record.per_class[part]["sensitivity"]) for record in records}
    counts = [record.confusion[part] for record in records]
    if len(classes) > 1 or any(len(of_run) != len(*classes) for of_run in counts):
        return None
    summed = tuple(tuple(map(sum, zip(*rows, strict=True))) for rows in zip(*counts, strict=True))
    whole = all(type(count) is int for row in summed for count in row)  # an earlier version wrote fractions
    return (*classes, summed) if whole else None
