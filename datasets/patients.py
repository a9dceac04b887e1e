"""Patients: which one an image is of, splits that keep them whole, and few-shot draws from many of them."""

import random
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import zip_longest

from dassl.errors import InputError, shown
from datasets.split_check import PARTS, Entry, Parts, some


def patients_by_path(paths: Iterable[str], pattern: str) -> dict[str, str]:
    """The patient of each path: what the first group of a regular expression matches, or the whole match.

    Raises:
        InputError: no regular expression, or a path in which it finds no patient.
    """
    try:
        expression = re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise InputError(
            f"DATASET.GROUP {shown(pattern)} is neither a regular expression ({error}) nor a column of images.csv"
        ) from error
    found = {path: expression.search(path) for path in paths}
    patients = {path: match[min(1, expression.groups)] for path, match in found.items() if match}
    without = [path for path in found if not patients.get(path)]
    if without:
        raise InputError(
            f"DATASET.GROUP {shown(pattern)} finds no patient in {len(without):,} of {len(found):,} paths: "
            f"{some(map(shown, without))}; it is a column of images.csv, or a regular expression that matches the "
            "patient in every path relative to the image folder"
        )
    return patients


def check_patients(parts: Parts, patients: Mapping[str, str], where: str) -> None:
    """Refuse a split with images of one patient in two parts.

    Raises:
        InputError: with the patients.
    """
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for part in PARTS:
        for path, _, _ in parts[part]:
            found[patients[path]].setdefault(part, path)
    shared = [
        f"patient {shown(patient)} ({', '.join(f'{part}: {shown(path)}' for part, path in of_patient.items())})"
        for patient, of_patient in found.items()
        if len(of_patient) > 1
    ]
    if shared:
        raise InputError(
            f"{where} has {len(shared):,} of {len(found):,} patients in two parts: {some(shared)}; correct it, or "
            "remove it so that a split by patients is made"
        )


def draw_of_patients(entries: Iterable[Entry], count: int, patients: Mapping[str, str], rng: random.Random) -> list:
    """Draw `count` entries of each label from as many patients as possible, or all of a label that has fewer.

    The patients of a label take turns in random order. Each gives one of its images, in random order, at each turn.
    """
    by_label: dict[int, dict[str, list]] = defaultdict(lambda: defaultdict(list))
    for entry in entries:
        by_label[entry[1]][patients[entry[0]]].append(entry)
    drawn = []
    for by_patient in by_label.values():
        order = rng.sample(list(by_patient.values()), len(by_patient))
        turns = zip_longest(*(rng.sample(images, len(images)) for images in order))
        drawn += [entry for turn in turns for entry in turn if entry][:count]
    return drawn
