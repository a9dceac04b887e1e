"""Seeded divisions of labelled images into training, validation and test images, by patients and into folds."""

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from dassl.errors import InputError
from datasets.split_check import PARTS, Entry

if TYPE_CHECKING:
    import numpy as np

# Fractions of the training and validation sets, as in official split files; the rest is the test set.
TRAIN_SHARE, VAL_SHARE = 0.5, 0.2
SPLIT_SEED = 0
# Whole patients are divided by holding out one of this many folds: a third for the test, then a quarter of the rest.
TEST_FOLDS, VAL_FOLDS = 3, 4
ATTEMPTS = 50  # seeds that are tried for a division in which every part has images of every class
ADVICE = "add images, or test a trained model on all of them with --eval-only and TEST.SPLIT all"

Division = dict[str, list[Entry]]


def by_images(entries: Sequence[Entry]) -> Division:
    """Divide each class by shuffling its images: 50 % training, 20 % validation and 30 % test images.

    The classes are taken in label order and their images in the order of their paths, with one random generator.
    """
    rng = random.Random(SPLIT_SEED)
    parts: Division = {part: [] for part in PARTS}
    for of_class in _by_class(entries).values():
        rng.shuffle(of_class)
        train = max(1, min(round(TRAIN_SHARE * len(of_class)), len(of_class) - 2))  # of 3 images, one for each part
        val = max(1, round(VAL_SHARE * len(of_class)))
        for part, chosen in zip(
            PARTS, (of_class[:train], of_class[train : train + val], of_class[train + val :]), strict=True
        ):
            parts[part] += chosen
    return parts


def by_patients(entries: Sequence[Entry], patients: Mapping[str, str] | None) -> Division:
    """Divide whole patients, with about the same share of every class in each part: about 50, 17 and 33 %.

    Raises:
        InputError: there are too few patients of a class.
    """
    entries = _ordered(entries)
    for attempt in range(ATTEMPTS):
        if (outer := _hold_out(entries, patients, TEST_FOLDS, attempt)) is None:
            continue
        if inner := _hold_out(outer[0], patients, VAL_FOLDS, attempt):
            return {"train": inner[0], "val": inner[1], "test": outer[1]}
    raise InputError(
        "the patients cannot be divided so that training, validation and test have images of every class; "
        f"a class should have images of more patients; {ADVICE}"
    )


def into_folds(entries: Sequence[Entry], count: int, patients: Mapping[str, str] | None = None) -> list[Division]:
    """The divisions of a cross-validation: fold k is the test part, a quarter of the rest are validation images.

    Every image is in the test part of one division. With patients, these are divided as a whole.

    Args:
        entries: all images.
        count: the number of folds, at least 2.
        patients: the patient of each path.

    Raises:
        InputError: a class has fewer images (or patients) than folds.
    """
    entries = _ordered(entries)
    unit = "images" if patients is None else "patients"
    for name, number in units_per_class(entries, patients).items():
        if number < max(count, 3):
            raise InputError(
                f"DATASET.FOLDS {count} needs {max(count, 3)} {unit} of each class, and class '{name}' has {number}; "
                f"use fewer folds (3 images are the least), or {ADVICE}"
            )
    for attempt in range(ATTEMPTS):
        fold_of = fold_numbers(entries, patients, count, SPLIT_SEED + attempt)
        divisions = [_division(entries, patients, fold_of == fold, attempt) for fold in range(count)]
        if all(divisions):
            return [division for division in divisions if division]
    raise InputError(
        f"the {unit} cannot be divided into {count} folds of which each has images of every class in training, "
        f"validation and test; use fewer DATASET.FOLDS, or {ADVICE}"
    )


def units_per_class(entries: Sequence[Entry], patients: Mapping[str, str] | None = None) -> dict[str, int]:
    """How many images, or patients, there are of each class."""
    units: dict[str, set[str]] = defaultdict(set)
    for path, _, name in entries:
        units[name].add(patients[path] if patients else path)
    return {name: len(of_class) for name, of_class in units.items()}


def _division(
    entries: list[Entry], patients: Mapping[str, str] | None, in_test: "np.ndarray", attempt: int
) -> Division | None:
    test, rest = _divided(entries, in_test)
    inner = _hold_out(rest, patients, VAL_FOLDS, attempt) if _same_classes(test, rest) else None
    return {"train": inner[0], "val": inner[1], "test": test} if inner else None


def _hold_out(
    entries: list[Entry], patients: Mapping[str, str] | None, count: int, attempt: int
) -> tuple[list[Entry], list[Entry]] | None:
    """Entries without one of `count` folds, and that fold: the one whose share of each class is nearest to 1 / count.

    With fewer units of a class there are fewer folds. None if no fold leaves images of every class on both sides.
    """
    folds = min(count, *units_per_class(entries, patients).values())
    if folds < 2:
        return None
    fold_of = fold_numbers(entries, patients, folds, SPLIT_SEED + attempt)
    found = []
    for fold in range(folds):
        held, rest = _divided(entries, fold_of == fold)
        if _same_classes(held, rest):
            shares = [len(of_held) / len(of_all) for of_held, of_all in _paired(held, entries)]
            found.append((max(abs(share - 1 / count) for share in shares), fold, rest, held))
    _, _, rest, held = min(found, default=(0.0, 0, [], []))
    return (rest, held) if held else None


def fold_numbers(entries: Sequence[Entry], patients: Mapping[str, str] | None, count: int, seed: int) -> "np.ndarray":
    """The fold (N,) of each entry, with about the same share of every class in each; patients stay whole."""
    import numpy as np
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold  # takes a second to load

    kind = StratifiedKFold if patients is None else StratifiedGroupKFold
    splitter = kind(count, shuffle=True, random_state=seed)
    labels = np.array([label for _, label, _ in entries])
    groups = None if patients is None else np.array([patients[path] for path, _, _ in entries])
    fold_of = np.zeros(len(entries), dtype=int)
    for fold, (_, held) in enumerate(splitter.split(labels, labels, groups)):
        fold_of[held] = fold
    return fold_of


def _divided(entries: list[Entry], chosen: "np.ndarray") -> tuple[list[Entry], list[Entry]]:
    inside = [entry for entry, is_in in zip(entries, chosen, strict=True) if is_in]
    return inside, [entry for entry, is_in in zip(entries, chosen, strict=True) if not is_in]


def _same_classes(some: list[Entry], others: list[Entry]) -> bool:
    return _by_class(some).keys() == _by_class(others).keys()


def _paired(some: list[Entry], others: list[Entry]) -> list[tuple[list[Entry], list[Entry]]]:
    """The entries of each class in two lists that have the same classes."""
    of_some, of_others = _by_class(some), _by_class(others)
    return [(of_some[label], of_others[label]) for label in of_some]


def _by_class(entries: Sequence[Entry]) -> dict[int, list[Entry]]:
    """The entries of each label, in label order and then in the order of their paths."""
    by_class: dict[int, list[Entry]] = defaultdict(list)
    for entry in _ordered(entries):
        by_class[entry[1]].append(entry)
    return by_class


def _ordered(entries: Sequence[Entry]) -> list[Entry]:
    return sorted(entries, key=lambda entry: (entry[1], entry[0]))
