"""Read, make and write splits, and draw few-shot subsets from them."""

import hashlib
import json
import math
import os
import random
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
from pathlib import Path

import orjson

from dassl.data.datasets.base import draw_per_class
from dassl.errors import InputError
from dassl.utils import cache_dir, listdir_nohidden, write_json
from datasets.divide import ADVICE, by_images, units_per_class
from datasets.listing import images_below
from datasets.official import DIGESTS
from datasets.patients import draw_of_patients
from datasets.split_check import FORM, Entry, Parts, check_parts, parse_parts

MAX_VAL_SHOTS = 4


@dataclass(frozen=True)
class Split:
    """The training, validation and test entries of a data set.

    An entry is [path relative to the image folder, label, class name]. `origin` is "official" for the content of a
    published split file, "generated" for a split that this project makes of these images, and "custom" for any other.
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

    def parts(self) -> dict[str, list[Entry]]:
        """The entries by the name of their part."""
        return {"train": self.train, "val": self.val, "test": self.test}

    def entries(self) -> list[Entry]:
        """All entries, part after part."""
        return [*self.train, *self.val, *self.test]

    def classnames(self) -> list[str]:
        """Return the class names in label order."""
        names = {label: name for _, label, name in self.entries()}
        return [names[label] for label in sorted(names)]


def checked_split(parts: Parts, where: str) -> Split:
    """A split of some parts, with its origin: what a file says about that is not believed.

    Raises:
        InputError: the parts contradict themselves.
    """
    check_parts(parts, where)
    split = Split(*(list(parts[part]) for part in ("train", "val", "test")), origin="custom")
    if split.digest() in DIGESTS:
        return as_origin(split, "official")
    return as_origin(split, "generated") if is_division(split, by_images(split.entries())) else split


def as_origin(split: Split, origin: str) -> Split:
    """The same split with an origin."""
    return Split(split.train, split.val, split.test, origin)


def is_division(split: Split, parts: Parts) -> bool:
    """Whether a split has these parts, in the same order."""
    return split.parts() == parts


def read_split(path: Path) -> Split:
    """Read a split file.

    Raises:
        InputError: the file does not hold three lists of [path, label, class name], or they contradict themselves.
    """
    where = f"split file '{path}'"
    try:
        return _split_of_text(path.read_bytes(), where)
    except (OSError, orjson.JSONDecodeError) as error:
        raise InputError(f"{where} cannot be read ({error}); it must hold {FORM}; replace the file") from error


@lru_cache(maxsize=8)  # the runs of a stack read the same file
def _split_of_text(text: bytes, where: str) -> Split:
    return checked_split(parse_parts(orjson.loads(text.removeprefix(b"\xef\xbb\xbf")), where), where)


def write_split(split: Split, path: Path) -> None:
    write_json({"origin": split.origin, **split.parts()}, str(path))


def make_split(image_dir: Path, classnames: Iterable[str]) -> Split:
    """Make a seeded split of class folders: 50 % training, 20 % validation and 30 % test images of each class.

    Raises:
        InputError: a class folder has fewer than 3 images, or an image has a name that a split cannot hold.
    """
    classnames = list(classnames)
    return split_of_images(entries_of_folders(image_dir, classnames), classnames, f"the images in '{image_dir}'")


def split_of_images(entries: list[Entry], classnames: Iterable[str], where: str) -> Split:
    """The seeded split of images.

    Raises:
        InputError: a class has fewer than 3 images, or an image has a name that a split cannot hold.
    """
    check_enough(entries, classnames, where)
    return checked_split(by_images(entries), where)


def check_enough(
    entries: list[Entry], classnames: Iterable[str], where: str, patients: Mapping[str, str] | None = None
) -> None:
    """Raise an InputError if there are fewer than 3 images, or patients, of a class."""
    counts, unit = units_per_class(entries, patients), "images" if patients is None else "patients"
    few = {name: counts.get(name, 0) for name in classnames if counts.get(name, 0) < 3}
    if few:
        listed = ", ".join(f"'{name}' has {count}" for name, count in few.items())
        raise InputError(f"a split needs at least 3 {unit} of each class, and in {where} {listed}; {ADVICE}")


def entries_of_folders(image_dir: Path, classnames: Iterable[str]) -> list[Entry]:
    """All images in the class folders and below; the name of a class folder has underscores for spaces."""
    folders = {name: name.replace(" ", "_") for name in classnames}
    return [
        (f"{folder}/{file}", label, name)
        for label, (name, folder) in enumerate(folders.items())
        if (image_dir / folder).is_dir()
        for file in images_below(image_dir / folder)
    ]


def few_shot(split: Split, shots: int, seed: int, patients: Mapping[str, str] | None = None) -> tuple[list, list]:
    """Draw the training and validation entries of a K-shot run: the same images that CoOp-style code draws.

    Python's generator, seeded with the seed of the run, draws K training entries of each class with `sample`, in the
    order of the classes' first appearance. Then it draws min(K, 4) validation entries of each class, or takes all
    entries of a class that has fewer. With the patient of each path, the entries of a class are of as many patients as
    possible instead.

    Raises:
        InputError: a class has fewer than K training images.
    """
    rng = random.Random(seed)

    def draw(entries: list[Entry], count: int) -> list[Entry]:
        if patients is not None:
            return draw_of_patients(entries, count, patients, rng)
        return draw_per_class(entries, count, label_of=itemgetter(1), rng=rng)

    train, val = draw(split.train, shots), draw(split.val, min(shots, MAX_VAL_SHOTS))
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
    name = hashlib.sha256(os.fsencode(dataset_dir.resolve())).hexdigest()[:12]
    return cache_dir() / "datasets" / f"{dataset_dir.name}-{name}"


def split_file(dataset_dir: Path, variant: str = "") -> Path | None:
    """The split file beside the images or, where that folder is read-only, in the cache; None if there is none yet.

    Args:
        dataset_dir: the folder of the data set.
        variant: what the name of the file adds for a split by patients or for a fold.
    """
    if not dataset_dir.is_dir():
        return None
    folders = (dataset_dir, derived_folder(dataset_dir))
    return next((path for folder in folders if (path := folder / split_name(dataset_dir, variant)).is_file()), None)


def split_name(dataset_dir: Path, variant: str = "") -> str:
    """The name of a data set's split file."""
    return f"split_{dataset_dir.name}{variant}.json"


def check_class_folders(image_dir: Path, classnames: Iterable[str], how_to_get: str, complete: bool = True) -> None:
    """Raise an InputError that names missing and unknown class folders; without `complete` some may be missing."""
    expected = {name.replace(" ", "_") for name in classnames}
    if not image_dir.is_dir():
        raise InputError(
            f"image folder '{image_dir}' does not exist; it must hold class folders {sorted(expected)}. {how_to_get}"
        )
    found = {name for name in listdir_nohidden(str(image_dir)) if (image_dir / name).is_dir()}
    if found != expected and (complete or not found <= expected):
        raise InputError(
            f"class folders in '{image_dir}' are not the expected ones: missing {sorted(expected - found) or 'none'}, "
            f"unknown {sorted(found - expected) or 'none'}. {how_to_get}"
        )
