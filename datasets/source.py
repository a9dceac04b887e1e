"""Where the labelled images of a data set are listed, and the split that is used of them."""

import hashlib
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

from yacs.config import CfgNode

from dassl.errors import InputError, shown
from datasets import manifest
from datasets.divide import by_patients, into_folds
from datasets.manifest import Manifest, read_manifest
from datasets.patients import patients_by_path
from datasets.split_check import Entry, some
from datasets.splits import (
    Split,
    as_origin,
    check_enough,
    checked_split,
    derived_folder,
    entries_of_folders,
    is_division,
    read_split,
    split_file,
    split_name,
    split_of_images,
    write_split,
)

PATIENT = "patient"  # the column of images.csv that names the patient where DATASET.GROUP is empty


class Source:
    """The images of a data set by images.csv or by class folders, and its split.

    Args:
        dataset_dir: the folder of the data set.
        settings: the node DATASET of the configuration; GROUP, FOLDS and FOLD are read.
        own: whether it is a user's own data, which may have images.csv and a cross-validation.

    Raises:
        InputError: a cross-validation of other data.
    """

    def __init__(self, dataset_dir: Path, settings: CfgNode, own: bool):
        self.dataset_dir, self.folds, self.fold = dataset_dir, settings.FOLDS, settings.FOLD
        self._group, self._own = settings.GROUP, own
        if self.folds and not own:
            raise InputError(
                f"DATASET.FOLDS {self.folds} is for the data set Folder, your own images; '{dataset_dir.name}' has a "
                "split that published results are for; set DATASET.FOLDS to 0"
            )

    @cached_property
    def manifest(self) -> Manifest | None:
        """The content of images.csv; None where there is none."""
        path = self.dataset_dir / manifest.FILE
        return read_manifest(path) if self._own and path.is_file() else None

    @cached_property
    def image_dir(self) -> Path:
        """The folder that paths are relative to; with images.csv its own folder, unless there is one for images."""
        inner = self.dataset_dir / self.dataset_dir.name
        return self.dataset_dir if self.manifest and not inner.is_dir() else inner

    def entries(self, classnames: Sequence[str]) -> list[Entry]:
        """Every labelled image."""
        return self.manifest.entries(classnames) if self.manifest else entries_of_folders(self.image_dir, classnames)

    def stored(self, classnames: Sequence[str] = ()) -> tuple[Path, Split] | None:
        """The split that there is already, and its file.

        Without patients and folds that is a split file; with patients it is one unless this project made it of single
        images. Parts in images.csv take the place of the file.

        Raises:
            InputError: a split file or images.csv that cannot be used, or both where one is expected.
        """
        plain = None if self.folds else split_file(self.dataset_dir)
        if self.manifest and (parts := self.manifest.parts(classnames or self.manifest.classnames())):
            if self.folds or plain:
                other = f"DATASET.FOLDS {self.folds}" if self.folds else f"'{plain}'"
                raise InputError(
                    f"'{self.manifest.path}' has a column part, and {other} divides the images too; remove one of them"
                )
            return self.manifest.path, checked_split(parts, f"'{self.manifest.path}'")
        split = read_split(plain) if plain else None
        if plain and split and not (self.group and split.origin == "generated"):
            return plain, self._agreeing(split, plain)
        variant = self._variant(self.fold)
        if variant and (path := split_file(self.dataset_dir, variant)):
            return path, self._with_origin(self._agreeing(read_split(path), path))
        return None

    def make(self, classnames: Sequence[str]) -> tuple[Path, Split]:
        """Divide the images, by patients and into folds if they are set, and write the split.

        The splits of all folds are written at once, so that they are of the same images.

        Raises:
            InputError: there are too few images, or files of other folds that do not fit to this division.
        """
        entries, where = self.entries(classnames), f"'{self.image_dir}'"
        path = self._path(self.fold)
        if not self.folds and not self.group:
            split = split_of_images(entries, classnames, where)
            write_split(split, path)
            return path, split
        check_enough(entries, classnames, where, self.patients(entry[0] for entry in entries))
        splits = self._divisions(entries)
        for number, split in enumerate(splits, start=1):
            other = self._path(number)
            if other.is_file() and read_split(other).digest() != split.digest():
                raise InputError(
                    f"'{other}' is a split of other images than there are in {where} today; remove this file and those "
                    "of the other folds to divide the images again"
                )
            write_split(split, other)
        return path, splits[self.fold - 1 if self.folds else 0]

    @property
    def group(self) -> str:
        """What names the patient: DATASET.GROUP or a column `patient` of images.csv; "" for nothing."""
        return self._group or (PATIENT if self.manifest and PATIENT in self.manifest.columns else "")

    def patients(self, paths: Iterable[str]) -> dict[str, str] | None:
        """The patient of each path; None if nothing names them.

        Raises:
            InputError: an image without a patient.
        """
        if not self.group:
            return None
        paths = list(paths)
        if self.manifest and self.group.lower() in self.manifest.columns:
            of_path = self.manifest.patients(self.group.lower())
            return {path: of_path[path] for path in paths}
        return patients_by_path(paths, self.group)

    def _divisions(self, entries: list[Entry]) -> list[Split]:
        """The split by patients, or those of all folds."""
        patients = self.patients(path for path, _, _ in entries)
        divisions = into_folds(entries, self.folds, patients) if self.folds else [by_patients(entries, patients)]
        return [as_origin(checked_split(parts, f"'{self.image_dir}'"), "generated") for parts in divisions]

    def _agreeing(self, split: Split, path: Path) -> Split:
        """A stored split, after a check that images.csv, if there is one, has its images under the same classes."""
        if self.manifest:
            other = self.manifest.names_otherwise(split.entries())
            if other:
                raise InputError(
                    f"split file '{path}' has {len(other):,} images that '{self.manifest.path}' does not list under "
                    f"the same class: {some(map(shown, other))}; correct one of the files, or remove the split file to "
                    "divide the images again"
                )
        return split

    def _with_origin(self, split: Split) -> Split:
        """A split from a file of this project: "generated" only if its images are divided in the same way today."""
        try:
            divided = self._divisions(split.entries())
        except InputError:
            divided = []
        is_made = any(is_division(split, other.parts()) for other in divided)
        return as_origin(split, "generated" if is_made else "custom")

    def _path(self, fold: int) -> Path:
        return derived_folder(self.dataset_dir) / split_name(self.dataset_dir, self._variant(fold))

    @cached_property
    def by(self) -> str:
        """What the names of derived files add where patients are named, so that files of other groups stay apart."""
        return f"_by-{hashlib.sha256(self.group.encode()).hexdigest()[:8]}" if self.group else ""

    def _variant(self, fold: int) -> str:
        return self.by + (f"_fold{fold}of{self.folds}" if self.folds else "")
