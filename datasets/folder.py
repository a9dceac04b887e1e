"""The base class of all data sets: class folders on disk, splits, few-shot subsets, base and new classes."""

import os
from functools import partial
from pathlib import Path

import numpy as np
from yacs.config import CfgNode

from dassl.data.datasets import DATASET_REGISTRY, DatasetBase, Datum
from dassl.errors import InputError, shown
from dassl.utils import listdir_nohidden, write_json
from datasets.duplicates import check_duplicates
from datasets.listing import images_below
from datasets.manifest import FILE as MANIFEST
from datasets.patients import check_patients
from datasets.source import Source
from datasets.split_check import is_text, some
from datasets.splits import Split, check_class_folders, checked_split, derived_folder, few_shot, split_file, subsample

HUB_DATASET = "TahaKoleilat/BiomedCoOp"


class FolderDataset(DatasetBase):
    """A data set in the layout <root>/<folder>/<folder>/<class_name>/<image>, <root>/<folder>/split_<folder>.json.

    Attributes, which a subclass declares:
        folder: name of the folder and of its archive.
        classes: class names in label order.
        prompts: name of the file in prompts/.
        drive_id: Google Drive id of the archive; "" for none.
        archive_size, sha256, licence, source: what is known of the archive and of the images in it, "" for unknown.
        other_folders: the class names of class folders with other names, as in the source's own archive.
        in_paper: whether this is one of the data sets in the Biomed-DPT paper.
        own: whether these are a user's own images.
    """

    dataset_dir: Path
    folder = ""
    classes: tuple[str, ...] = ()
    prompts = ""
    drive_id = ""
    archive_size = sha256 = licence = source = ""
    other_folders: dict[str, str] = {}
    in_paper = False
    own = False
    _patients: dict[str, str] | None = None
    _split_path: Path

    def __init__(self, cfg: CfgNode):
        self.dataset_dir = data_root(cfg) / self.folder
        self.image_dir = self.dataset_dir / self.folder
        self.prompts = cfg.DATASET.PROMPTS or self.prompts
        self.prepare(cfg)
        self.source = Source(self.dataset_dir, cfg.DATASET, self.own)
        self.image_dir = self.source.image_dir
        self.classes = self.classes or self.classes_on_disk()
        self.split = self._every_image() if cfg.TEST.SPLIT == "all" else self._find_split()
        self._check_files()
        check_duplicates(self.split.parts(), self.image_dir, cfg.DATASET.DUPLICATES)
        shots = cfg.DATASET.NUM_SHOTS
        drawn = shots > 0 and self.split.train  # without training images there are only tests of a trained model
        train, val = self._few_shot(shots, cfg.SEED) if drawn else (self.split.train, self.split.val)
        which = cfg.DATASET.SUBSAMPLE_CLASSES
        subset = partial(self._subset, which=which)
        super().__init__(subset(train), val=subset(val), test=subset(self.split.test), classnames=self._names(which))

    def prepare(self, cfg: CfgNode) -> None:
        """Raise an InputError if the data root does not exist; data sets that generate images override this."""
        root = data_root(cfg)
        if not cfg.DATASET.ROOT or not root.is_dir():
            raise InputError(f"data root '{root}' does not exist; name it with --root. {self.how_to_get()}")

    @classmethod
    def how_to_get(cls) -> str:
        """Return one sentence on how to get the images, for error messages."""
        return (
            f"To get the images: python -m datasets.fetch {cls.prompts} --root ROOT (downloads {cls.folder}.zip; it is "
            f"also in the Hugging Face data set {HUB_DATASET}, to be unpacked as ROOT/{cls.folder}/{cls.folder}/)."
        )

    @classmethod
    def lesion_mask(cls, path: Path) -> np.ndarray | None:
        """Return the lesion mask (height, width), bool, of an image; None if the class has no masks."""
        return None

    def test_of(self, which: str) -> tuple[list[Datum], list[str]]:
        """Return the test images and the class names of "all", "base" or "new" classes; labels start from 0."""
        return self._subset(self.split.test, which), self._names(which)

    def patients_of(self, items: list[Datum]) -> list[str] | None:
        """Return the patient of each image; None without DATASET.GROUP."""
        if self._patients is None:
            return None
        return [self._patients[Path(item.impath).relative_to(self.image_dir).as_posix()] for item in items]

    def classes_on_disk(self) -> tuple[str, ...]:
        """Return the class names that images.csv or, with spaces for underscores, the class folders have."""
        if self.source.manifest:
            return self.source.manifest.classnames()
        if not self.image_dir.is_dir():
            raise InputError(f"image folder '{self.image_dir}' does not exist. {self.how_to_get()}")
        names = listdir_nohidden(str(self.image_dir), sort=True)
        return tuple(name.replace("_", " ") for name in names if (self.image_dir / name).is_dir())

    def _find_split(self) -> Split:
        """Return the split that there is; if there is none, make one from the images and save it."""
        if self.source.folds and (given := split_file(self.dataset_dir)):
            print(f"note: DATASET.FOLDS divides all images, so '{given}' is not read")
        if stored := self.source.stored(self.classes):
            path, split = stored
            self._check_classes(split, path)
            self._split_path = path
        else:
            if not self.source.manifest:
                check_class_folders(self.image_dir, self.classes, self.how_to_get())
            self._split_path, split = self.source.make(self.classes)
            print(f"'{self.dataset_dir}' has no split file: made a seeded split and saved it as '{self._split_path}'")
        self._patients = self.source.patients(path for path, _, _ in split.entries())
        if self._patients is not None:
            check_patients(split.parts(), self._patients, f"'{self._split_path}'")
        return split

    def _every_image(self) -> Split:
        """Return a split whose test part is every labelled image: those of a split that came with the data, or all."""
        manifest = self.source.manifest
        stored = None if manifest else self.source.stored(self.classes)
        self._split_path = manifest.path if manifest else self.image_dir
        if stored and stored[1].origin != "generated":
            self._split_path, split = stored
            self._check_classes(split, self._split_path)
            return Split([], [], split.entries(), split.origin)
        if not manifest:
            check_class_folders(self.image_dir, self.classes, self.how_to_get(), complete=False)
        entries = self.source.entries(self.classes)
        if not entries:
            raise InputError(f"there are no images to test on in '{self.image_dir}'. {self.how_to_get()}")
        return checked_split({"train": [], "val": [], "test": entries}, f"'{self.image_dir}'")

    def _check_classes(self, split: Split, path: Path) -> None:
        """Raise an InputError if a split has other classes; without training images some may be missing."""
        named = {(label, name) for _, label, name in split.entries()}
        if not named <= set(enumerate(self.classes)) or (split.train and len(named) < len(self.classes)):
            raise InputError(
                f"split file '{path}' has the classes {split.classnames()}, but {type(self).__name__} expects "
                f"{list(self.classes)} in this order; use the split file of this data set"
            )

    def _check_files(self) -> None:
        """Raise an InputError if images of the split are missing; say which images are in no part of it."""
        entries, present = self.split.entries(), set(self._present())
        listed = [file for file, _, _ in entries]
        missing = [file for file in listed if file not in present and not os.path.isfile(self.image_dir / file)]
        if missing:
            raise InputError(
                f"{len(missing):,} of {len(entries):,} images of the split are missing in '{self.image_dir}'; "
                f"the first is {shown(missing[0])}. {self.how_to_get()} To work with the images that are there, "
                f"{self._subset_hint()}"
            )
        unused = sorted(present - set(listed))
        if unused:
            print(
                f"note: {len(unused):,} of {len(present):,} images in '{self.image_dir}' are in no part of the split "
                f"'{self._split_path}' and are not used: {some(map(shown, unused))}"
            )

    def _subset_hint(self) -> str:
        """Say how to do without missing images of a split."""
        path = self._split_path
        if path.name == MANIFEST:
            return f"remove the lines of the missing ones from '{path}'."
        return f"move '{path}' away, so that a split of them is made, or remove the missing ones from this file."

    def _present(self) -> list[str]:
        return images_below(self.image_dir) if self.image_dir.is_dir() else []

    def _few_shot(self, shots: int, seed: int) -> tuple[list, list]:
        """Draw the few-shot subset, and save it with paths relative to the image folder."""
        train, val = few_shot(self.split, shots, seed, self._patients)
        name = f"split_fewshot/{shots}shots_seed{seed}_{self.split.digest()}{self.source.by}.json"
        path = derived_folder(self.dataset_dir) / name
        if not path.is_file():
            write_json({"train": train, "val": val}, str(path))
        return train, val

    def _labels(self, which: str) -> list[int]:
        return subsample(range(len(self.classes)), which)

    def _names(self, which: str) -> list[str]:
        return [self.classes[label] for label in self._labels(which)]

    def _subset(self, entries: list, which: str) -> list[Datum]:
        new_label = {label: k for k, label in enumerate(self._labels(which))}
        return [
            Datum(str(self.image_dir / file), new_label[label], classname=name)
            for file, label, name in entries
            if label in new_label
        ]


@DATASET_REGISTRY.register()
class Folder(FolderDataset):
    """Any folder of images, described by settings instead of Python code.

    DATASET.FOLDER names the folder. Its sub-folders are the classes, or images.csv lists images and classes.
    DATASET.CLASSES lists the class names in label order; by default they are the sorted names of the sub-folders, with
    spaces for underscores. DATASET.PROMPTS names the prompt file.
    """

    own = True

    def __init__(self, cfg: CfgNode):
        folder, classes = cfg.DATASET.FOLDER, tuple(cfg.DATASET.CLASSES)
        if not folder:
            raise InputError(
                "the data set 'Folder' needs DATASET.FOLDER; set it to the name of a folder in the data root"
            )
        if folder in (".", "..") or not is_text(folder) or {"/", "\\"} & set(folder):
            raise InputError(f"DATASET.FOLDER is {shown(folder)}; it must be the name of a folder in the data root")
        if len({name.replace("_", " ") for name in classes}) < len(classes):
            raise InputError(f"DATASET.CLASSES is {list(classes)}; names must differ in more than _ for a space")
        self.folder, self.classes = folder, classes
        super().__init__(cfg)

    @classmethod
    def how_to_get(cls) -> str:
        return (
            f"Put the images into ROOT/FOLDER/FOLDER/<class_name>/, or list them in ROOT/FOLDER/{MANIFEST}, and set "
            "DATASET.FOLDER."
        )


def data_root(cfg: CfgNode) -> Path:
    """Return the folder that holds the data sets."""
    return Path(os.path.expanduser(cfg.DATASET.ROOT))
