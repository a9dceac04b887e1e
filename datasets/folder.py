"""The base class of all data sets: class folders on disk, splits, few-shot subsets, base and new classes."""

from pathlib import Path

from yacs.config import CfgNode

from dassl.data.datasets import DATASET_REGISTRY, DatasetBase, Datum
from dassl.errors import InputError
from dassl.utils import listdir_nohidden, write_json
from datasets.splits import (
    Split,
    check_class_folders,
    derived_folder,
    few_shot,
    make_split,
    read_split,
    split_name,
    subsample,
    write_split,
)

HUB_DATASET = "TahaKoleilat/BiomedCoOp"


class FolderDataset(DatasetBase):
    """A data set in the layout <root>/<folder>/<folder>/<class_name>/<image>, <root>/<folder>/split_<folder>.json.

    Attributes, which a subclass declares:
        folder: name of the folder and of its archive.
        classes: class names in label order.
        prompts: name of the file in prompts/.
        drive_id: Google Drive id of the archive; "" for none.
        in_paper: whether this is one of the data sets in the Biomed-DPT paper.
    """

    dataset_dir: Path
    folder = ""
    classes: tuple[str, ...] = ()
    prompts = ""
    drive_id = ""
    in_paper = False

    def __init__(self, cfg: CfgNode):
        self.dataset_dir = Path(cfg.DATASET.ROOT).expanduser() / self.folder
        self.image_dir = self.dataset_dir / self.folder
        self.prepare(cfg)
        self.split = self._find_split()
        self._check_files()
        shots = cfg.DATASET.NUM_SHOTS
        train, val = self._few_shot(shots, cfg.SEED) if shots > 0 else (self.split.train, self.split.val)
        which = cfg.DATASET.SUBSAMPLE_CLASSES
        self.subset_classes = [self.split.classnames()[label] for label in self._labels(which)]
        super().__init__(
            train_x=self._subset(train, which), val=self._subset(val, which), test=self._subset(self.split.test, which)
        )

    def prepare(self, cfg: CfgNode) -> None:
        """Raise an InputError if the data root does not exist; data sets that generate images override this."""
        root = Path(cfg.DATASET.ROOT).expanduser()
        if not cfg.DATASET.ROOT or not root.is_dir():
            raise InputError(f"data root '{root}' does not exist; name it with --root. {self.how_to_get()}")

    @classmethod
    def how_to_get(cls) -> str:
        """Return one sentence on how to get the images, for error messages."""
        return (
            f"To get the images: python -m datasets.fetch {cls.prompts} --root ROOT (downloads {cls.folder}.zip; it is "
            f"also in the Hugging Face data set {HUB_DATASET}, to be unpacked as ROOT/{cls.folder}/{cls.folder}/)."
        )

    def test_of(self, which: str) -> tuple[list[Datum], list[str]]:
        """Return the test images and the class names of "all", "base" or "new" classes; labels start from 0."""
        names = self.split.classnames()
        return self._subset(self.split.test, which), [names[label] for label in self._labels(which)]

    def _find_split(self) -> Split:
        """Read the split file beside the images; if there is none, make a split from the class folders and save it."""
        name = split_name(self.dataset_dir)
        if (self.dataset_dir / name).is_file():
            return self._with_expected_classes(read_split(self.dataset_dir / name), self.dataset_dir / name)
        check_class_folders(self.image_dir, self.classes, self.how_to_get())
        path = derived_folder(self.dataset_dir) / name
        split = make_split(self.image_dir, self.classes)
        write_split(split, path)
        print(
            f"'{self.dataset_dir}' has no split file: made a seeded split (50/20/30 per class) and saved it as '{path}'"
        )
        return split

    def _with_expected_classes(self, split: Split, path: Path) -> Split:
        if split.classnames() != list(self.classes):
            raise InputError(
                f"split file '{path}' has the classes {split.classnames()}, but {type(self).__name__} expects "
                f"{list(self.classes)} in this order; use the split file of this data set"
            )
        return split

    def _check_files(self) -> None:
        """Raise an InputError if images of the split are missing."""
        entries = [*self.split.train, *self.split.val, *self.split.test]
        present = {
            f"{folder}/{file}"
            for folder in {Path(file).parent.as_posix() for file, _, _ in entries}
            if (self.image_dir / folder).is_dir()
            for file in listdir_nohidden(str(self.image_dir / folder))
        }
        missing = [file for file, _, _ in entries if file not in present]
        if missing:
            raise InputError(
                f"{len(missing):,} of {len(entries):,} images of the split are missing in '{self.image_dir}'; "
                f"the first is '{missing[0]}'. {self.how_to_get()}"
            )

    def _few_shot(self, shots: int, seed: int) -> tuple[list, list]:
        """Draw the few-shot subset, and save it with paths relative to the image folder."""
        train, val = few_shot(self.split, shots, seed)
        path = derived_folder(self.dataset_dir) / f"split_fewshot/{shots}shots_seed{seed}_{self.split.digest()}.json"
        if not path.is_file():
            write_json({"train": train, "val": val}, str(path))
        return train, val

    def _labels(self, which: str) -> list[int]:
        return subsample((label for _, label, _ in self.split.test), which)

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

    DATASET.FOLDER names the folder; its sub-folders are the classes. DATASET.CLASSES lists the class names in label
    order; by default they are the sorted names of the sub-folders, with spaces for underscores. DATASET.PROMPTS names
    the prompt file.
    """

    def __init__(self, cfg: CfgNode):
        if not cfg.DATASET.FOLDER:
            raise InputError(
                "the data set 'Folder' needs DATASET.FOLDER; set it to the name of a folder in the data root"
            )
        self.folder, self.prompts = cfg.DATASET.FOLDER, cfg.DATASET.PROMPTS
        self.classes = tuple(cfg.DATASET.CLASSES) or self._classes_on_disk(Path(cfg.DATASET.ROOT).expanduser())
        super().__init__(cfg)

    def _classes_on_disk(self, root: Path) -> tuple[str, ...]:
        image_dir = root / self.folder / self.folder
        if not image_dir.is_dir():
            raise InputError(f"image folder '{image_dir}' does not exist. {self.how_to_get()}")
        names = listdir_nohidden(str(image_dir), sort=True)
        return tuple(name.replace("_", " ") for name in names if (image_dir / name).is_dir())

    @classmethod
    def how_to_get(cls) -> str:
        return "Put the images into ROOT/FOLDER/FOLDER/<class_name>/ and set DATASET.FOLDER."
