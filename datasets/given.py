"""The data set of a caller in Python: training and validation images at given paths."""

import os
from collections.abc import Sequence
from pathlib import Path

from yacs.config import CfgNode

from dassl.data.datasets import DATASET_REGISTRY, DatasetBase, Datum
from dassl.errors import InputError, shown
from datasets.duplicates import check_duplicates

Labelled = tuple[str, int]  # the path of an image, and its label


@DATASET_REGISTRY.register()
class Given(DatasetBase):
    """Images that a caller in Python gives to a trainer, as `biomed_dpt.FewShotClassifier` does; it has no test images.

    Args:
        cfg: the configuration; DATASET.DUPLICATES is read.
        train, validation: (path, label) of each image; labels count from 0 in the order of `classnames`.
        classnames: the names of the classes.
        patients: the patient of each training image; None where patients are not known.
        prompts: the prompt file; "" for none.

    Raises:
        InputError: no classes, a class without training images, an image with two labels; a file that is missing; or
            equal images in both parts, with DATASET.DUPLICATES error.
    """

    def __init__(
        self,
        cfg: CfgNode,
        train: Sequence[Labelled] = (),
        validation: Sequence[Labelled] = (),
        classnames: Sequence[str] = (),
        prompts: str = "",
        patients: Sequence[str] | None = None,
    ):
        if not classnames:
            raise InputError(
                "the data set Given gets its images in Python: use biomed_dpt.FewShotClassifier, or the data set Folder"
            )
        _check_labels([*train, *validation])
        absent = [name for label, name in enumerate(classnames) if label not in {label for _, label in train}]
        if absent:
            raise InputError(f"there are no training images of {shown(absent)}; give at least one image of each class")

        def entries(images: Sequence[Labelled]) -> list[tuple[str, int, str]]:
            return [(os.path.abspath(path), label, classnames[label]) for path, label in images]

        parts = {"train": entries(train), "val": entries(validation), "test": []}
        check_duplicates(parts, Path(), cfg.DATASET.DUPLICATES)
        train_x, val = ([Datum(*entry[:2], classname=entry[2]) for entry in parts[part]] for part in ("train", "val"))
        self.prompts = prompts
        self._patients = patients and dict(zip((item.impath for item in train_x), patients, strict=True))
        super().__init__(train_x, val=val, test=[], classnames=classnames)

    def patients_of(self, items: list[Datum]) -> list[str] | None:
        """Return the patient of each training image; None where patients are not known."""
        return self._patients and [self._patients[item.impath] for item in items]


def _check_labels(images: Sequence[Labelled]) -> None:
    labels: dict[str, int] = {}
    for path, label in images:
        if labels.setdefault(path, label) != label:
            raise InputError(f"image '{path}' is given with two labels; give it once, with the right one")
