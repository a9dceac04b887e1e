"""Writes predictions.csv: the true class, the predicted class and the probabilities of every tested image."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dassl.utils import atomic_path
from dassl.utils.csvtext import csv_text

if TYPE_CHECKING:
    from dassl.evaluation import Predictions

COLUMNS = ("file", "part", "true class", "predicted class")  # and "probability of <class>" for each class
DIGITS = 9  # of a probability: enough to tell those of fp32 logits apart


def write_predictions(path: Path, tested: Mapping[str, "Predictions"], dataset: Any) -> None:
    """Write the predictions of a test as CSV; docs/METRICS.md describes the columns.

    Args:
        path: of the file, which is replaced as a whole.
        tested: the predictions by part of the classes: "all", "base" or "new".
        dataset: the data set; files in its image folder are written relative to that folder.

    Raises:
        OutputError: the file cannot be written.
    """
    classes = list(dict.fromkeys(name for part in tested.values() for name in part.classnames))
    rows = [row for part, of_part in tested.items() for row in _rows(part, of_part, classes, dataset)]
    text = csv_text([*COLUMNS, *(f"probability of {name}" for name in classes)], rows)
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _rows(part: str, tested: "Predictions", classes: list[str], dataset: Any) -> list[list]:
    """A row per image; the cells of classes that are not in its part are empty."""
    names = list(tested.classnames)
    places = [classes.index(name) for name in names]
    probabilities = tested.logits.double().softmax(1).tolist()
    about = zip(tested.paths, tested.labels.tolist(), tested.logits.argmax(1).tolist(), probabilities, strict=True)
    rows = []
    for file, label, predicted, of_image in about:
        cells: list = [None] * len(classes)
        for place, probability in zip(places, of_image, strict=True):
            cells[place] = float(f"{probability:.{DIGITS}g}")
        rows.append([_relative(file, dataset), part, names[label], names[predicted], *cells])
    return rows


def _relative(file: str, dataset: Any) -> str:
    """The path within the data set's folder of images; the path as it is, where the data set names none."""
    for name in ("image_dir", "dataset_dir"):
        folder = os.fspath(getattr(dataset, name, "") or "")
        if folder and file.startswith(folder.rstrip(os.sep) + os.sep):
            return os.path.relpath(file, folder)
    return file
