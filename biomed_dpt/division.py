"""Which of the given images are trained on, and which are kept for validation."""

import random
from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from operator import itemgetter

from dassl.data.datasets.base import draw_per_class
from dassl.errors import InputError
from datasets.patients import draw_of_patients


def divide(
    labels: Sequence[int],
    groups: Sequence[Hashable] | None,
    shots: int | None,
    validation: float | int | None,
    seed: int,
) -> tuple[list[int], list[int]]:
    """The places of the training images and of the validation images.

    Args:
        labels: label of each image.
        groups: patient of each image: all images of a patient are on one side. None where patients are not known.
        shots: training images per class, drawn with the seed, from as many patients as possible; None for all. Where
            every class has exactly this number they keep their order.
        validation: images of each class that are kept for validation: a number, or a share (a float below 1), at least
            one. Images of whole patients can be more. None or 0 for none.
        seed: of the draws.

    Raises:
        InputError: there are too few images, or patients, of a class.
    """
    rng = random.Random(seed)
    held = _hold_out(labels, groups, validation, rng) if validation else []
    left = sorted({*range(len(labels))} - {*held})
    return _draw(left, labels, groups, shots, rng), held


def _hold_out(
    labels: Sequence[int], groups: Sequence[Hashable] | None, validation: float | int, rng: random.Random
) -> list[int]:
    """Take patients in random order, each that has a class of which more validation images are wanted."""
    counts = Counter(labels)
    if not 0 < validation < min(counts.values()) or (isinstance(validation, float) and validation >= 1):
        raise InputError(
            f"validation is {validation}; it must be a share between 0 and 1, or a number of images below that of the "
            f"smallest class, {min(counts.values())}"
        )
    wanted = {
        k: max(1, round(validation * n)) if isinstance(validation, float) else validation for k, n in counts.items()
    }
    left, held, of_patient = Counter(counts), [], defaultdict(list)
    for place in range(len(labels)):
        of_patient[place if groups is None else groups[place]].append(place)
    for places in rng.sample(list(of_patient.values()), len(of_patient)):
        has = Counter(labels[place] for place in places)
        if any(wanted[label] > 0 for label in has) and all(left[label] > number for label, number in has.items()):
            held += places
            left -= has
            wanted = {label: number - has[label] for label, number in wanted.items()}
    if any(number > 0 for number in wanted.values()):
        raise InputError(
            f"validation {validation} cannot be kept from {len(of_patient):,} "
            f"{'images' if groups is None else 'patients'} so that every class also has training images; use less, or "
            "give X_val and y_val"
        )
    return sorted(held)


def _draw(
    places: list[int],
    labels: Sequence[int],
    groups: Sequence[Hashable] | None,
    shots: int | None,
    rng: random.Random,
) -> list[int]:
    if shots is None:
        return places
    counts = Counter(labels[place] for place in places)
    if shots < 1 or min(counts.values()) < shots:
        raise InputError(
            f"shots is {shots}; it must be a number from 1 to that of the images of the smallest class, "
            f"{min(counts.values())}, or None for all images"
        )
    if set(counts.values()) == {shots}:
        return places
    entries = [(place, labels[place]) for place in places]
    if groups is None:
        drawn = draw_per_class(entries, shots, label_of=itemgetter(1), rng=rng)
    else:
        drawn = draw_of_patients(entries, shots, dict(enumerate(groups)), rng)  # type: ignore[arg-type]
    return [place for place, _ in drawn]
