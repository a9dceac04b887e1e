"""Calibration: a temperature that divides the logits, and sets of classes with a stated coverage."""

import math
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from dassl.errors import InputError, unknown_name

KINDS = ("lac", "aps")
SMALLEST, LARGEST = 1e-4, 10.0  # temperatures that are tried, as multiples of the largest difference of two logits
SEED = 0  # of the random numbers in the scores of APS


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """The T > 0 with the smallest mean cross-entropy of logits / T (Guo et al., arXiv 1706.04599, section 4.2).

    The targets are those of Platt (1999, section 2.2), as if there were one more image that is classified rightly and
    one wrongly: (n + 1) / (n + 2) for the label, and the rest in equal parts for the other classes. Without them, T
    would be 0 where all n images are classified rightly, however few they are. For many images, they are one-hot.

    Args:
        logits: (N, C).
        labels: (N,).

    Returns:
        T; 1 where every image has equal logits for all classes, so that T has no effect. It is at most 10 times the
        largest difference between two logits of an image: where the logits are no better than chance, T ends there.

    Raises:
        InputError: there are no images, or logits that are not finite.
    """
    from scipy.optimize import minimize_scalar  # takes a quarter of a second to load

    logits, labels = logits.double().cpu(), labels.cpu()
    if not len(logits):
        raise InputError("a temperature is fitted on images, and there are none; name at least one")
    if not logits.isfinite().all():
        raise InputError("the logits are not finite, so no temperature fits them; train with other settings")
    differences = logits.amax(1) - logits.amin(1)
    if (scale := differences.max().item()) == 0:
        return 1.0
    images, classes = logits.shape
    targets = torch.full_like(logits, 1 / ((images + 2) * (classes - 1)))
    targets.scatter_(1, labels[:, None], (images + 1) / (images + 2))

    def loss(log_multiple: float) -> float:
        return F.cross_entropy(logits / (scale * math.exp(log_multiple)), targets).item()

    limits = math.log(SMALLEST), math.log(LARGEST)
    return scale * math.exp(minimize_scalar(loss, bounds=limits, method="bounded", options={"xatol": 1e-9}).x)


def images_needed(coverage: float) -> int:
    """The least number of calibration images for prediction sets: ⌈coverage / (1 − coverage)⌉.

    Raises:
        InputError: the coverage is not between 0 and 1.
    """
    if not 0 < coverage < 1:
        raise InputError(f"the coverage is {coverage}; it must lie between 0 and 1, such as 0.9")
    exact = _exact(coverage)
    return math.ceil(exact / (1 - exact))


def refuse_few_images(count: int, coverage: float) -> None:
    """Refuse fewer than `images_needed` calibration images.

    Raises:
        InputError: with the number that is needed.
    """
    if count < (needed := images_needed(coverage)):
        raise InputError(
            f"prediction sets of coverage {coverage} need {needed} calibration images, and there are {count}; label "
            "more images, or ask for a smaller coverage"
        )


def conformal_threshold(probabilities: Tensor, labels: Tensor, coverage: float, kind: str) -> float:
    """The threshold of split-conformal prediction sets: the ⌈(N + 1) · coverage⌉-th smallest score of N images.

    The score of an image is, with p the probabilities of its classes and y its label,

    - "lac": 1 − p_y (Sadinle et al., arXiv 1609.00451);
    - "aps": the sum of the probabilities above p_y, plus (1 − u) p_y (Romano et al., arXiv 2006.02544). u is uniform
      in [0, 1); it is drawn from a seeded generator in the order of the images.

    The set of a further image has its class with a probability of at least `coverage`, if that image and these are
    exchangeable, for example drawn at random from the same hospital's images.

    Args:
        probabilities: (N, C).
        labels: (N,).
        coverage: between 0 and 1.
        kind: "lac" or "aps".

    Raises:
        InputError: unknown kind, a coverage out of range, or fewer than `images_needed` images.
    """
    refuse_few_images(len(labels), coverage)
    probabilities, labels = probabilities.double().cpu(), labels.cpu()[:, None]
    scores = _scores(probabilities, kind).gather(1, labels)[:, 0]
    if kind == "aps":  # the numbers of RandomState stay the same in all versions of NumPy
        u = torch.from_numpy(np.random.RandomState(SEED).uniform(size=len(labels)))
        scores = scores + (1 - u) * probabilities.gather(1, labels)[:, 0]
    return scores.sort().values[math.ceil((len(labels) + 1) * _exact(coverage)) - 1].item()


def prediction_sets(probabilities: Tensor, threshold: float, kind: str) -> Tensor:
    """Which classes are in the prediction set of each image: bool (N, C).

    - "lac": the classes with 1 − p ≤ threshold. A set may be empty: no class is probable enough.
    - "aps": from the most probable class on, each class before which the sum of the probabilities is at most the
      threshold. No random number is drawn here, and the class that passes the threshold is included, so that no set is
      empty; the coverage may therefore be larger than stated.

    Args:
        probabilities: (N, C).
        threshold: as `conformal_threshold` gave it.
        kind: "lac" or "aps".

    Raises:
        InputError: unknown kind.
    """
    return _scores(probabilities, kind) <= threshold


def _scores(probabilities: Tensor, kind: str) -> Tensor:
    """The smallest score (N, C) that each class of an image can have."""
    if kind not in KINDS:
        raise unknown_name("kind of prediction sets", kind, KINDS)
    probabilities = probabilities.double().cpu()
    if kind == "lac":
        return 1 - probabilities
    ordered, order = probabilities.sort(dim=1, descending=True, stable=True)
    above = F.pad(ordered.cumsum(1)[:, :-1], (1, 0))
    return torch.empty_like(above).scatter_(1, order, above)


def _exact(coverage: float) -> Fraction:
    """The coverage as it is written: 0.9 is 9/10, and not the nearest binary fraction."""
    return Fraction(str(float(coverage)))
