"""Paired tests between methods: Wilcoxon's signed-rank test, two-sided, with Holm's correction."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

MOST_ENUMERATED = 13  # pairs up to which all 2^n combinations of signs are tried
MOST_EXACT = 50  # pairs up to which SciPy has exact probabilities


@dataclass(frozen=True, slots=True)
class Comparison:
    """A method against a reference: mean difference in points, pairs, p without and with Holm's correction."""

    difference: float
    pairs: int
    p: float
    p_holm: float


def wilcoxon(samples: Sequence[Sequence[float]]) -> list[float]:
    """Two-sided p values of Wilcoxon's signed-rank test, one for each sample of paired differences.

    Zero differences are dropped, as Wilcoxon did; p is 1 if none is left. Exact up to 50 pairs without ties and up to
    13 with ties; otherwise by the normal approximation.
    """
    from scipy import stats

    p_values = [1.0] * len(samples)
    groups: dict[tuple[str, int], list[tuple[int, list[float]]]] = {}
    for k, differences in enumerate(samples):
        # Accuracies are counts over test images: differences below 1e-9 are rounding errors.
        left = [rounded for d in differences if (rounded := round(d, 9)) != 0]
        if left:
            groups.setdefault((_method(left), len(left)), []).append((k, left))
    # Thousands of calls would take seconds: samples of equal size and method share one.
    for (method, _), members in groups.items():
        samples_left = [left for _, left in members]
        if method == "all signs":
            found = [_by_all_signs(left) for left in samples_left]
        else:
            found = stats.wilcoxon(samples_left, axis=1, method=method).pvalue
        for (k, _), p in zip(members, found, strict=True):
            p_values[k] = float(p)
    return p_values


def _by_all_signs(differences: Sequence[float]) -> float:
    """The share of the 2^n combinations of signs whose sum of positive ranks is as far from the mean."""
    import numpy as np
    from scipy.stats import rankdata

    # SciPy's permutations of one sample take half a second. Twice the ranks are whole numbers, also with ties.
    ranks = (2 * rankdata(np.abs(differences))).astype(int)
    ways = np.ones(1)  # how many combinations have the sum 0, 1, 2, …
    for rank in ranks:
        ways = np.pad(ways, (0, rank)) + np.pad(ways, (rank, 0))
    middle, found = ranks.sum() / 2, ranks[np.array(differences) > 0].sum()
    return float(ways[np.abs(np.arange(len(ways)) - middle) >= abs(found - middle)].sum() / 2 ** len(ranks))


def _method(differences: Sequence[float]) -> str:
    ties = len({abs(d) for d in differences}) < len(differences)
    if len(differences) <= MOST_EXACT and not ties:
        return "exact"
    return "all signs" if len(differences) <= MOST_ENUMERATED else "asymptotic"


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p values (Scand. J. Statist. 6, 1979), in the order given."""
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, k in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[k]))
        adjusted[k] = largest
    return adjusted


def compare(reference: Sequence[float | None], others: Mapping[str, Sequence[float | None]]) -> dict[str, Comparison]:
    """Compare each method with the reference, with Holm's correction over the methods without missing values.

    Args:
        reference: one value per (data set, seed); None where the run is missing.
        others: values of each method, in the same order.

    Returns:
        comparisons by method, without methods that have a missing value; none if the reference has one.
    """
    if not reference or any(value is None for value in reference):
        return {}
    differences = {
        method: [a - b for a, b in zip(values, reference, strict=True)]
        for method, values in others.items()
        if not any(value is None for value in values)
    }
    p_values = wilcoxon(list(differences.values()))
    return {
        method: Comparison(math.fsum(found) / len(found), len(found), p, corrected)
        for (method, found), p, corrected in zip(differences.items(), p_values, holm(p_values), strict=True)
    }
