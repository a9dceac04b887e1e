"""Splits as data: read, made and checked; and the few-shot subsets drawn from them."""

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

from dassl.data.datasets.base import draw_per_class
from dassl.errors import InputError
from dassl.utils import cache_dir, listdir_nohidden, read_json, write_json

PARTS = ("train", "val", "test")
TRAIN_SHARE, VAL_SHARE = 0.5, 0.2  # the rest is the test set; the official splits of the 11 data sets have these shares
SPLIT_SEED = 0
MAX_VAL_SHOTS = 4
IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"}


@dataclass(frozen=True)
class Split:
    """Entries [path relative to the image folder, label, class name] of the three parts.

    `origin` is "official" for a split file that came with the data and "generated" for one made here.
    """

    train: list
    val: list
    test: list
    origin: str

    def digest(self) -> str:
        """A short name of the content: two splits with the same entries have the same digest."""
        text = json.dumps([self.train, self.val, self.test])
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def about(self) -> dict[str, str]:
        """Origin and digest, for result files."""
        return {"origin": self.origin, "digest": self.digest()}

    def classnames(self) -> list[str]:
        """Class names in label order."""
        names = {label: name for part in (self.train, self.val, self.test) for _, label, name in part}
        return [names[label] for label in sorted(names)]


def read_split(path: Path) -> Split:
    """Read a split file; anything that is not three lists of [path, label, class name] is an InputError."""
    try:
        content = read_json(path)
        parts = [[(str(file), int(label), str(name)) for file, label, name in content[part]] for part in PARTS]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"split file '{path}' must hold 'train', 'val' and 'test', "
            f"each a list of [path, label, class name] ({error})"
        ) from error
    for file, _, _ in (entry for part in parts for entry in part):
        if Path(file).is_absolute() or ".." in Path(file).parts:
            raise InputError(f"split file '{path}' names '{file}', which lies outside the image folder")
    return Split(*parts, origin=content.get("origin", "official"))


def write_split(split: Split, path: Path) -> None:
    write_json({"origin": split.origin, "train": split.train, "val": split.val, "test": split.test}, str(path))


def make_split(image_dir: Path, classnames: Iterable[str]) -> Split:
    """A seeded split of class folders (class name with underscores), 50 % train, 20 % validation, 30 % test per class.

    Raises:
        InputError: a class folder has no images.
    """
    rng = random.Random(SPLIT_SEED)
    parts = {part: [] for part in PARTS}
    for label, name in enumerate(classnames):
        folder = image_dir / name.replace(" ", "_")
        files = sorted(f.name for f in folder.iterdir() if f.suffix.lower() in IMAGE_SUFFIXES)
        if len(files) < 3:
            raise InputError(f"class folder '{folder}' has {len(files)} images; a split needs at least 3")
        rng.shuffle(files)
        train = max(1, round(TRAIN_SHARE * len(files)))
        val = max(1, round(VAL_SHARE * len(files)))
        for part, chosen in zip(PARTS, (files[:train], files[train : train + val], files[train + val :]), strict=True):
            parts[part] += [(f"{folder.name}/{file}", label, name) for file in chosen]
    return Split(**parts, origin="generated")


def few_shot(split: Split, shots: int, seed: int) -> tuple[list, list]:
    """The training and validation entries of a K-shot run: the very images that CoOp-style code draws.

    Python's generator seeded with the run's seed; classes in the order of their first appearance; K of each by
    `sample`, training set first; then min(K, 4) of each class of the validation set, or all where there are fewer.

    Raises:
        InputError: a class has fewer than K training images.
    """
    rng = random.Random(seed)
    train = draw_per_class(split.train, shots, label_of=itemgetter(1), rng=rng)
    val = draw_per_class(split.val, min(shots, MAX_VAL_SHOTS), label_of=itemgetter(1), rng=rng)
    counts = dict.fromkeys(split.classnames(), 0)
    for _, _, name in train:
        counts[name] += 1
    short = {name: count for name, count in counts.items() if count < shots}
    if short:
        name, count = min(short.items(), key=lambda pair: pair[1])
        raise InputError(
            f"{shots} shots were asked for, but class '{name}' has {count} training images; "
            f"use --shots {count} or fewer"
        )
    return train, val


def subsample(labels: Iterable[int], which: str) -> list[int]:
    """The labels of "all", the "base" (first half, rounded up) or the "new" classes, in order."""
    labels = sorted(set(labels))
    half = math.ceil(len(labels) / 2)
    if which not in ("all", "base", "new"):
        raise InputError(f"DATASET.SUBSAMPLE_CLASSES is 'all', 'base' or 'new', not '{which}'")
    return {"all": labels, "base": labels[:half], "new": labels[half:]}[which]


def derived_folder(dataset_dir: Path) -> Path:
    """Where files derived from a data set are kept: beside it, or in the cache if its folder is read-only."""
    # The mode is asked too: root may write everywhere, and still a folder marked read-only is to be left alone.
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
    """Refuse a folder whose sub-folders are not the classes', naming what is missing and what is left over."""
    expected = {name.replace(" ", "_") for name in classnames}
    if not image_dir.is_dir():
        raise InputError(
            f"image folder '{image_dir}' does not exist; expected there: class folders {sorted(expected)}. {how_to_get}"
        )
    found = {name for name in listdir_nohidden(str(image_dir)) if (image_dir / name).is_dir()}
    if found != expected:
        raise InputError(
            f"class folders in '{image_dir}' are not the expected ones: missing {sorted(expected - found) or 'none'}, "
            f"unknown {sorted(found - expected) or 'none'}. {how_to_get}"
        )
