"""Reliability diagrams: how often the predicted class is right, by its probability."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dassl.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

BINS = 10
FORMATS = (".png", ".pdf", ".svg")
BLUE, ORANGE = "#0072B2", "#D55E00"  # of the palette of Okabe and Ito


class Reliability(NamedTuple):
    """Bins of equal width over the probability of the predicted class (Guo et al., arXiv 1706.04599, section 2).

    Attributes:
        counts: images in each of B bins; a bin holds its upper end, and not its lower one.
        confidence: mean probability of the predicted class in each bin, 0 to 1; NaN in empty bins.
        accuracy: share of images in each bin whose predicted class is right, 0 to 1; NaN in empty bins.
        ece: expected calibration error, 0 to 1: the mean over images of |accuracy − confidence| of their bins.
    """

    counts: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray
    ece: float


def reliability(probabilities: "Tensor", labels: "Tensor", bins: int = BINS) -> Reliability:
    """Put images into bins of equal width.

    Args:
        probabilities: (N, C).
        labels: (N,).
        bins: their number.

    Raises:
        InputError: there are no images.
    """
    if not len(labels):
        raise InputError("a reliability diagram needs images, and there are none; name at least one")
    highest, predicted = (found.cpu().numpy() for found in probabilities.double().max(1))
    right = predicted == labels.cpu().numpy()
    place = np.clip(np.ceil(highest * bins).astype(int) - 1, 0, bins - 1)
    counts, sum_of_confidence, sum_of_right = (
        np.bincount(place, weights, minlength=bins) for weights in (None, highest, right)
    )
    of_filled = np.where(counts, counts, np.nan)
    ece = np.abs(sum_of_right - sum_of_confidence).sum() / len(right)
    return Reliability(counts, sum_of_confidence / of_filled, sum_of_right / of_filled, float(ece))


def check_picture(path: str | Path) -> None:
    """Refuse a name whose suffix is that of no format.

    Raises:
        InputError: with the formats.
    """
    if Path(path).suffix.lower() not in FORMATS:
        raise InputError(f"'{path}' names no picture; its name must end with one of {', '.join(FORMATS)}")


def draw_reliability(diagrams: Mapping[str, Reliability], path: str | Path) -> None:
    """Draw reliability diagrams side by side, with the number of images in each bin below, as PNG, PDF or SVG.

    Args:
        diagrams: by their titles.
        path: the suffix says which format.

    Raises:
        InputError: another suffix.
        OutputError: the file cannot be written.
    """
    from matplotlib.figure import Figure

    from dassl.utils import atomic_path

    check_picture(path)
    figure = Figure(figsize=(4.2 * len(diagrams), 4.6), dpi=120, layout="constrained")
    axes = figure.subplots(2, len(diagrams), sharex=True, squeeze=False, height_ratios=[3, 1])
    for column, (title, diagram) in enumerate(diagrams.items()):
        _draw(axes[0, column], axes[1, column], title, diagram)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format=Path(path).suffix.lower()[1:])


def _draw(upper: Any, lower: Any, title: str, diagram: Reliability) -> None:
    bins = len(diagram.counts)
    left = np.arange(bins) / bins
    style = {"width": 1 / bins, "align": "edge", "edgecolor": "white"}
    upper.bar(left, np.nan_to_num(diagram.accuracy), color=BLUE, **style)
    upper.plot([0, 1], [0, 1], color="black", linewidth=1, linestyle="--")
    upper.plot(diagram.confidence, diagram.accuracy, color=ORANGE, marker="o", markersize=4, linewidth=0, clip_on=False)
    upper.set(
        xlim=(0, 1), ylim=(0, 1), ylabel="accuracy", title=f"{title}\nECE {100 * diagram.ece:.1f} % ({bins} bins)"
    )
    lower.bar(left, diagram.counts, color=BLUE, **style)
    lower.bar_label(lower.containers[0], [str(count) if count else "" for count in diagram.counts], fontsize=7)
    lower.set(xlabel="probability of the predicted class", ylabel="images", ylim=(0, 1.25 * max(diagram.counts)))
