"""Metrics of single-label classification; docs/METRICS.md has their formulas.

Accuracies, sensitivities, specificities, AUROC and calibration error are in percent. The Brier score is a number from
0 to 2. A metric that is not defined is None, never NaN.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from torch import Tensor

CALIBRATION_BINS = 15
RESAMPLES, RESAMPLING_SEED = 1000, 0
DIGITS = 6  # of the numbers per class, the interval and the Brier score: results.json is read thousands of times
_CHUNK = 2**17  # weights of images that the bootstrap keeps at a time


def accuracy_metrics(logits: Tensor, labels: Tensor) -> dict:
    """The metrics that are needed after every epoch: total, correct, accuracy, and macro_f1 of the classes that occur.

    Args:
        logits: (N, C).
        labels: (N,) int64 in [0, C).
    """
    from sklearn.metrics import f1_score

    predicted = logits.argmax(1)
    correct = predicted == labels
    present = labels.unique().tolist()
    return {
        "total": len(labels),
        "correct": int(correct.sum()),
        "accuracy": 100 * correct.double().mean().item(),
        "macro_f1": 100 * float(f1_score(labels.numpy(), predicted.numpy(), average="macro", labels=present)),
    }


def classification_metrics(logits: Tensor, labels: Tensor, lab2cname: dict[int, str] | None = None) -> dict:
    """Compute all metrics of a test set.

    Args:
        logits: (N, C).
        labels: (N,) int64 in [0, C).
        lab2cname: class names for the metrics of each class.

    Returns:
        those of `accuracy_metrics`, and
        balanced_accuracy: the mean sensitivity of the classes that occur;
        auroc: one-vs-rest and macro-averaged, None if a class has no test images or there is only one class;
        auroc_interval: see `auroc_interval`;
        ece: the expected calibration error with 15 equal bins and L1 norm (Guo et al., arXiv 1706.04599);
        brier: the mean over images of the sum over classes of squared differences (Brier, Monthly Weather Review 78,
        1950);
        sensitivity, specificity: by class name, None where there are no images to compute them from;
        confusion_matrix: C lists of C counts, a row per true class and a column per predicted class.
    """
    from sklearn.metrics import confusion_matrix, roc_auc_score

    classes = logits.shape[1]
    names = [(lab2cname or {}).get(c, str(c)) for c in range(classes)]
    true, probabilities = labels.numpy(), logits.double().softmax(1).numpy()
    auroc = None
    if len(np.unique(true)) == classes > 1:
        scores = probabilities[:, 1] if classes == 2 else probabilities
        auroc = 100 * float(roc_auc_score(true, scores, multi_class="ovr", average="macro"))
    counts = confusion_matrix(true, logits.argmax(1).numpy(), labels=range(classes))
    sensitivity, specificity = sensitivities(counts), specificities(counts)
    known = [value for value in sensitivity if value is not None]
    return {
        **accuracy_metrics(logits, labels),
        "balanced_accuracy": round(sum(known) / len(known), DIGITS),
        "auroc": auroc,
        "auroc_interval": None if auroc is None else auroc_interval(probabilities, true),
        "ece": _calibration_error(logits, labels),
        "brier": brier_score(probabilities, true),
        "sensitivity": dict(zip(names, sensitivity, strict=True)),
        "specificity": dict(zip(names, specificity, strict=True)),
        "confusion_matrix": counts.tolist(),
    }


def sensitivities(counts: np.ndarray) -> list[float | None]:
    """TP / (TP + FN) of each class in percent, None for a class without images; `counts` is (C, C), rows are true."""
    return _percentages(counts.diagonal(), counts.sum(1))


def specificities(counts: np.ndarray) -> list[float | None]:
    """TN / (TN + FP) of each class in percent, None if all images are of it; `counts` is (C, C), rows are true."""
    others = counts.sum() - counts.sum(1)
    return _percentages(others - (counts.sum(0) - counts.diagonal()), others)


def _percentages(parts: np.ndarray, wholes: np.ndarray) -> list[float | None]:
    pairs = zip(parts.tolist(), wholes.tolist(), strict=True)
    return [round(100 * part / whole, DIGITS) if whole else None for part, whole in pairs]


def brier_score(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """The Brier score, from 0 to 2, of probabilities (N, C) and labels (N,).

    scikit-learn has it for more than two classes from version 1.7 only.
    """
    true = np.eye(probabilities.shape[1])[labels]
    return round(float(((probabilities - true) ** 2).sum(1).mean()), DIGITS)


def auroc_interval(probabilities: np.ndarray, labels: np.ndarray) -> list[float]:
    """The 95 % percentile bootstrap interval of the AUROC over images, in percent.

    1,000 resamples, drawn with a fixed seed. Each draws as many images of a class as there are of it, with replacement,
    so that every resample has an AUROC (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13;
    stratified as in pROC, Robin et al., BMC Bioinformatics 12:77, 2011). The AUROC of a resample is computed from the
    ranks of all its images at once, as the Mann-Whitney statistic with ties counted half.

    Args:
        probabilities: (N, C).
        labels: (N,), with all C > 1 classes.
    """
    images, classes = probabilities.shape
    generator = np.random.default_rng(RESAMPLING_SEED)
    members = [np.flatnonzero(labels == c) for c in range(classes)]
    columns = range(classes) if classes > 2 else (1,)
    ranked = [_Ranks.of(probabilities[:, c], labels == c) for c in columns]
    found: list[np.ndarray] = []
    step = max(1, _CHUNK // images)
    for start in range(0, RESAMPLES, step):
        weights = _resampled(generator, members, images, min(step, RESAMPLES - start))
        found.append(np.mean([ranks.auroc(weights) for ranks in ranked], axis=0))
    low, high = np.percentile(np.concatenate(found), [2.5, 97.5])
    return [round(100 * float(low), DIGITS), round(100 * float(high), DIGITS)]


def _resampled(generator: np.random.Generator, members: Sequence[np.ndarray], images: int, number: int) -> np.ndarray:
    """How often each image is drawn in each of some resamples (number, N)."""
    weights = np.zeros((number, images))
    for of_class in members:
        size = len(of_class)
        drawn = generator.integers(size, size=(number, size)) + size * np.arange(number)[:, None]
        weights[:, of_class] = np.bincount(drawn.ravel(), minlength=number * size).reshape(number, size)
    return weights


class _Ranks(NamedTuple):
    """One class against the others: N images by rising score, P of them positive.

    Attributes:
        order: the images (N,).
        positive: the places (P,) of the positive images in this order.
        lower, not_higher: for each of them, how many images have a lower score, and one that is not higher (P,).
    """

    order: np.ndarray
    positive: np.ndarray
    lower: np.ndarray
    not_higher: np.ndarray

    @classmethod
    def of(cls, scores: np.ndarray, is_positive: np.ndarray) -> "_Ranks":
        order = np.argsort(scores, kind="stable")
        ordered, positive = scores[order], np.flatnonzero(is_positive[order])
        lower, not_higher = (np.searchsorted(ordered, ordered[positive], side) for side in ("left", "right"))
        return cls(order, positive, lower, not_higher)

    def auroc(self, weights: np.ndarray) -> np.ndarray:
        """The AUROC (R,) of R resamples: the share of pairs in which the positive image has the higher score."""
        ordered = weights[:, self.order]
        positive = ordered[:, self.positive]
        ordered[:, self.positive] = 0
        negative = np.zeros((len(weights), len(self.order) + 1))  # how many are among the first k images
        np.cumsum(ordered, axis=1, out=negative[:, 1:])
        below = negative[:, self.lower] + negative[:, self.not_higher]
        return np.einsum("rp,rp->r", positive, below) / (2 * positive.sum(1) * negative[:, -1])


def _calibration_error(logits: Tensor, labels: Tensor) -> float:
    from torchmetrics.functional.classification import multiclass_calibration_error

    classes = logits.shape[1]
    if classes == 1:
        return 100 * float((logits.argmax(1) != labels).float().mean())
    probabilities = logits.double().softmax(1).float()
    return 100 * float(multiclass_calibration_error(probabilities, labels, classes, n_bins=CALIBRATION_BINS))
