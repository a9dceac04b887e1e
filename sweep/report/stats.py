"""Means over seeds with 95 % intervals, averages over data sets, harmonic means. Incomplete values have no mean."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class Value:
    """A mean over seeds.

    Attributes:
        mean: None if a run or its value is missing.
        half: half of the 95 % interval; None for one seed.
        missing: the number of missing runs.
        deviation: the standard deviation over the folds of a single seed.
    """

    mean: float | None = None
    half: float | None = None
    missing: int = 0
    deviation: float | None = None


@lru_cache
def _student(degrees: int) -> float:
    from scipy.special import stdtrit  # scipy.stats takes a second to load

    return float(stdtrit(degrees, 0.975))


def interval(values: Sequence[float]) -> float:
    """Half the width of the 95 % interval of the mean (Student's t); 0 for fewer than two values."""
    n = len(values)
    return _student(n - 1) * _deviation(values) / math.sqrt(n) if n > 1 else 0.0


def _deviation(values: Sequence[float]) -> float:
    center = math.fsum(values) / len(values)
    return math.sqrt(math.fsum([(value - center) ** 2 for value in values]) / (len(values) - 1))


def mean(values: Sequence[float | None]) -> float | None:
    """The mean; None if a value is missing."""
    if len(values) == 1:
        return values[0]
    return None if None in values else math.fsum(values) / len(values)


def over_seeds(values: Sequence[float | None], missing: int = 0) -> Value:
    """Mean and interval of one value per seed; there is none if a value is missing."""
    if not values or missing or None in values:
        return Value(missing=missing)
    return Value(math.fsum(values) / len(values), interval(values) if len(values) > 1 else None)


def over_folds(values: Sequence[float | None], missing: int = 0) -> Value:
    """Mean and standard deviation of one value per fold of a seed; there is none if a value is missing.

    Folds share training images and are not independent, so their deviation gives no interval.
    """
    if missing or None in values:
        return Value(missing=missing)
    return Value(mean(values), deviation=_deviation(values))


def over_datasets(table: Sequence[Sequence[float | None]]) -> list[float | None]:
    """Per seed, the mean over data sets of a (data sets, seeds) table; None where a data set's value is missing."""
    return [mean(column) for column in zip(*table, strict=True)]
