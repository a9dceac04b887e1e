"""Read, make and check splits, and draw few-shot subsets from them."""

import hashlib
import json
import math
import os
import random
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

from dassl.data.datasets.base import draw_per_class
from dassl.errors import InputError
from dassl.utils import cache_dir, listdir_nohidden, read_json, write_json

PARTS = ("train", "val", "test")
# Fractions of the training and validation sets, as in official split files; the rest is the test set.
TRAIN_SHARE, VAL_SHARE = 0.5, 0.2
SPLIT_SEED = 0
MAX_VAL_SHOTS = 4
IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"}


@dataclass(frozen=True)
class Split:
    """The training, validation and test entries of a data set.

    An entry is [path relative to the image folder, label, class name]. `origin` is "official" for a split file that
    came with the data and "generated" for a split made by `make_split`.
    """

    train: list
    val: list
    test: list
    origin: str

    def digest(self) -> str:
        """Return a short hash of the entries."""
        text = json.dumps([self.train, self.val, self.test])
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def about(self) -> dict[str, str]:
        """Return origin and digest, for result files."""
        return {"origin": self.origin, "digest": self.digest()}

    def classnames(self) -> list[str]:
        """Return the class names in label order."""
        names = {label: name for part in (self.train, self.val, self.test) for _, label, name in part}
        return [names[label] for label in sorted(names)]


def read_split(path: Path) -> Split:
    """Read a split file.

    Raises:
        InputError: the file does not hold three lists of [path, label, class name], or a path leaves the image folder.
    """
    try:
        content: Any = read_json(str(path))
        parts = [[(str(file), int(label), str(name)) for file, label, name in content[part]] for part in PARTS]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"split file '{path}' must hold 'train', 'val' and 'test', "
            f"each a list of [path, label, class name]; replace the file ({error})"
        ) from error
    for file, _, _ in (entry for part in parts for entry in part):
        if Path(file).is_absolute() or ".." in Path(file).parts:
            raise InputError(
                f"split file '{path}' names '{file}', which lies outside the image folder; replace the file"
            )
    train, val, test = parts
    return Split(train, val, test, origin=content.get("origin", "official"))


def write_split(split: Split, path: Path) -> None:
    write_json({"origin": split.origin, "train": split.train, "val": split.val, "test": split.test}, str(path))


def make_split(image_dir: Path, classnames: Iterable[str]) -> Split:
    """Make a seeded split of class folders: 50 % training, 20 % validation and 30 % test images of each class.

    The name of a class folder is the class name with underscores for spaces.

    Raises:
        InputError: a class folder has fewer than 3 images.
    """
    rng = random.Random(SPLIT_SEED)
    parts: dict[str, list] = {part: [] for part in PARTS}
    for label, name in enumerate(classnames):
        folder = image_dir / name.replace(" ", "_")
        files = sorted(f.name for f in folder.iterdir() if f.suffix.lower() in IMAGE_SUFFIXES)
        if len(files) < 3:
            raise InputError(f"class folder '{folder}' has {len(files)} images; a split needs at least 3; add images")
        rng.shuffle(files)
        train = max(1, round(TRAIN_SHARE * len(files)))
        val = max(1, round(VAL_SHARE * len(files)))
        for part, chosen in zip(PARTS, (files[:train], files[train : train + val], files[train + val :]), strict=True):
            parts[part] += [(f"{folder.name}/{file}", label, name) for file in chosen]
    return Split(**parts, origin="generated")


def few_shot(split: Split, shots: int, seed: int) -> tuple[list, list]:
    """Draw the training and validation entries of a K-shot run: the same images that CoOp-style code draws.

    Python's generator, seeded with the seed of the run, draws K training entries of each class with `sample`, in the
    order of the classes' first appearance. Then it draws min(K, 4) validation entries of each class, or takes all
    entries of a class that has fewer.

    Raises:
        InputError: a class has fewer than K training images.
    """
    rng = random.Random(seed)
    train = draw_per_class(split.train, shots, label_of=itemgetter(1), rng=rng)
    val = draw_per_class(split.val, min(shots, MAX_VAL_SHOTS), label_of=itemgetter(1), rng=rng)
    counts = dict.fromkeys(split.classnames(), 0)
    for _, _, name in train:
        counts[name] += 1
    too_few = {name: count for name, count in counts.items() if count < shots}
    if too_few:
        name, count = min(too_few.items(), key=lambda pair: pair[1])
        raise InputError(
            f"{shots} shots were asked for, but class '{name}' has {count} training images; "
            f"use --shots {count} or fewer"
        )
    return train, val


def subsample(labels: Iterable[int], which: str) -> list[int]:
    """Return the sorted labels of "all" classes, of the "base" (first half, rounded up) or of the "new" classes."""
    labels = sorted(set(labels))
    half = math.ceil(len(labels) / 2)
    if which not in ("all", "base", "new"):
        raise InputError(f"DATASET.SUBSAMPLE_CLASSES must be 'all', 'base' or 'new', not '{which}'")
    return {"all": labels, "base": labels[:half], "new": labels[half:]}[which]


def derived_folder(dataset_dir: Path) -> Path:
    """Return the folder for files derived from a data set: its own folder, or one in the cache if it is read-only."""
    # Root can write to a read-only folder; checking its mode as well protects it then too.
    if os.access(dataset_dir, os.W_OK) and dataset_dir.stat().st_mode & stat.S_IWUSR:
        return dataset_dir
    name = hashlib.sha256(str(dataset_dir.resolve()).encode()).hexdigest()[:12]
    return cache_dir() / "datasets" / f"{dataset_dir.name}-{name}"


def split_name(dataset_dir: Path) -> str:
    """The name of a data set's split file."""
    return f"split_{dataset_dir.name}.json"


def split_file(dataset_dir: Path) -> Path | None:
    """The split file beside the images or, where that folder is read-only, in the cache; None if there is none yet."""
    if not dataset_dir.is_dir():
        return None
    folders = (dataset_dir, derived_folder(dataset_dir))
    return next((path for folder in folders if (path := folder / split_name(dataset_dir)).is_file()), None)


def check_class_folders(image_dir: Path, classnames: Iterable[str], how_to_get: str) -> None:
    """Raise an InputError that names missing and unknown class folders, if there are any."""
    expected = {name.replace(" ", "_") for name in classnames}
    if not image_dir.is_dir():
        raise InputError(
            f"image folder '{image_dir}' does not exist; it must hold class folders {sorted(expected)}. {how_to_get}"
        )
    found = {name for name in listdir_nohidden(str(image_dir)) if (image_dir / name).is_dir()}
    if found != expected:
        raise InputError(
            f"class folders in '{image_dir}' are not the expected ones: missing {sorted(expected - found) or 'none'}, "
            f"unknown {sorted(found - expected) or 'none'}. {how_to_get}"
        )
