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
    """

    mean: float | None = None
    half: float | None = None
    missing: int = 0

    @property
    def shown(self) -> float | None:
        """The mean as printed, so that means which look equal rank equally."""
        return None if self.mean is None else round(self.mean, 2)


@lru_cache
def _student(degrees: int) -> float:
    from scipy.special import stdtrit  # scipy.stats takes a second to load

    return float(stdtrit(degrees, 0.975))


def interval(values: Sequence[float]) -> float:
    """Half the width of the 95 % interval of the mean (Student's t); 0 for fewer than two values."""
    n = len(values)
    if n < 2:
        return 0.0
    mean = math.fsum(values) / n
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    return _student(n - 1) * deviation / math.sqrt(n)


def over_seeds(values: Sequence[float | None], missing: int = 0) -> Value:
    """Mean and interval of one value per seed; there is none if a value is missing."""
    if not values or missing or any(value is None for value in values):
        return Value(missing=missing)
    return Value(math.fsum(values) / len(values), interval(values) if len(values) > 1 else None)


def over_datasets(table: Sequence[Sequence[float | None]]) -> list[float | None]:
    """Per seed, the mean over data sets of a (data sets, seeds) table; None where a data set's value is missing."""
    averages: list[float | None] = []
    for column in zip(*table, strict=True):
        whole = not any(value is None for value in column)
        averages.append(math.fsum(column) / len(column) if whole else None)
    return averages
