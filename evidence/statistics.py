"""Effects over images: mean paired differences with intervals and tests, and correlations."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from sweep.report.significance import holm, wilcoxon

DRAWS = 10_000
INTERVAL = (2.5, 97.5)  # percentiles
FEWEST_CORRELATED = 3
AT_A_TIME = 2_000_000  # counts that are turned into float64 at a time


@dataclass(frozen=True)
class Effect:
    """The mean of paired differences over images.

    Attributes:
        mean: of the differences; NaN without images.
        low, high: 95 % percentile bootstrap interval of the mean (Efron and Tibshirani, 1993, section 13.3) from 10,000
            draws; NaN for fewer than two images.
        images: how many have a difference.
        p: of Wilcoxon's signed-rank test, two-sided, by the rules of `sweep.report.significance.wilcoxon`; 1 without
            images.
        p_holm: with Holm's correction over the conditions that have images.
    """

    mean: float
    low: float
    high: float
    images: int
    p: float
    p_holm: float


@dataclass(frozen=True)
class Correlation:
    """Spearman's rank correlation over images, with SciPy's two-sided p value (t distribution)."""

    rho: float
    p: float
    images: int


def effects(columns: Mapping[str, Sequence[float | None]], seed: int) -> dict[str, Effect]:
    """The effect of each condition from its paired differences, one per image.

    Args:
        columns: differences by condition; None for images without a lesion, which are left out. Conditions with the
            same number of images share their draws.
        seed: of the bootstrap.
    """
    samples = {name: [value for value in column if value is not None] for name, column in columns.items()}
    sizes = defaultdict(list)
    for name, sample in samples.items():
        sizes[len(sample)].append(name)
    intervals: dict[str, tuple[float, float]] = {}
    for names in (names for size, names in sizes.items() if size > 1):
        limits = _intervals(np.array([samples[name] for name in names], dtype=np.float64), seed)
        intervals |= dict(zip(names, limits, strict=True))
    found = {}
    for (name, sample), p in zip(samples.items(), wilcoxon(list(samples.values())), strict=True):
        mean = math.fsum(sample) / len(sample) if sample else math.nan
        low, high = intervals.get(name, (math.nan, math.nan))
        found[name] = Effect(mean, low, high, len(sample), p, p)
    tested = [name for name, sample in samples.items() if sample]
    corrected = holm([found[name].p for name in tested])
    return found | {name: replace(found[name], p_holm=p) for name, p in zip(tested, corrected, strict=True)}


def correlation(a: Sequence[float | None], b: Sequence[float | None]) -> Correlation | None:
    """Spearman's correlation of two columns over the images that have both values.

    Returns:
        None for fewer than three images, or where all values of a column are equal.
    """
    from scipy.stats import spearmanr

    pairs = [(x, y) for x, y in zip(a, b, strict=True) if x is not None and y is not None]
    if len(pairs) < FEWEST_CORRELATED or any(len({*column}) == 1 for column in zip(*pairs, strict=True)):
        return None
    rho, p = spearmanr(pairs)
    return Correlation(float(rho), float(p), len(pairs))


def _intervals(samples: np.ndarray, seed: int) -> list[tuple[float, float]]:
    """The bootstrap interval of the mean of each of K samples (K, n)."""
    images = samples.shape[1]
    counts, rows = _drawn(images, seed), max(1, AT_A_TIME // images)
    means = [counts[start : start + rows].astype(np.float64) @ samples.T / images for start in range(0, DRAWS, rows)]
    low, high = np.percentile(np.concatenate(means), INTERVAL, axis=0)
    return list(zip(low.tolist(), high.tolist(), strict=True))


@lru_cache(maxsize=2)
def _drawn(images: int, seed: int) -> np.ndarray:
    """How often each image is in each draw (draws, images), uint8; samples of the same size share it."""
    drawn = np.random.default_rng(seed).integers(images, size=(DRAWS, images))
    counts = np.empty((DRAWS, images), dtype=np.uint8)
    for row, places in zip(counts, drawn, strict=True):
        row[:] = np.bincount(places, minlength=images)
    return counts
