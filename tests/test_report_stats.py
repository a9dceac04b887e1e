"""The statistics of reports, compared with SciPy and with values computed by hand."""

import itertools

import numpy as np
import pytest
from scipy import stats as scipy_stats

from runs.results import harmonic
from sweep.report.significance import compare, holm
from sweep.report.significance import wilcoxon as wilcoxon_of_all
from sweep.report.stats import Value, interval, over_datasets, over_seeds


@pytest.mark.parametrize("n", [2, 3, 5, 10])
def test_interval_is_scipys(n):
    values = np.random.default_rng(n).uniform(40, 90, n).tolist()
    low, high = scipy_stats.t.interval(0.95, n - 1, np.mean(values), scipy_stats.sem(values))
    assert interval(values) == pytest.approx((high - low) / 2)
    assert over_seeds(values).mean == pytest.approx(np.mean(values))


def test_what_is_missing_has_no_mean():
    assert over_seeds([70.0, None, 74.0]) == Value(None, None, 0)
    assert over_seeds([70.0, 72.0], missing=1) == Value(None, None, 1)
    assert over_seeds([]) == Value()
    assert over_seeds([70.0]) == Value(70.0, None)
    assert over_datasets([[70.0, None], [80.0, 90.0]]) == [75.0, None]


def test_harmonic_mean_by_hand():
    assert harmonic(78.06, 75.97) == pytest.approx(77.00, abs=0.005)  # the averages printed for Biomed-DPT
    assert harmonic(50.0, 100.0) == pytest.approx(200 / 3)
    assert harmonic(0.0, 0.0) == 0.0
    assert harmonic(None, 50.0) is None


def wilcoxon(differences):
    """The p value of one sample, alone and within a group of samples."""
    (alone,) = wilcoxon_of_all([differences])
    others = [[0.0], [1.0, 1.0, -2.0], [-d for d in differences], [1.0, 2.0, 4.0]]
    assert wilcoxon_of_all([*others, differences])[-1] == pytest.approx(alone)
    return alone


def all_signs(differences):
    """The exact two-sided p by definition: the share of sign combinations with a rank sum as far from the mean."""
    ranks = scipy_stats.rankdata(np.abs(differences))
    middle, found = ranks.sum() / 2, ranks[np.array(differences) > 0].sum()
    sums = [
        sum(r for r, up in zip(ranks, signs, strict=True) if up)
        for signs in itertools.product((0, 1), repeat=len(ranks))
    ]
    return np.mean([abs(total - middle) >= abs(found - middle) - 1e-9 for total in sums])


def test_wilcoxon_by_hand():
    # Ranks 1 to 5, all positive: 2 of 32 ways to set the signs are as extreme.
    assert wilcoxon([1, 2, 3, 4, 5]) == pytest.approx(2 / 32)
    # Only rank 1 is negative: sums 0, 1, 14, 15 of 15 are as extreme, 4 of 32.
    assert wilcoxon([-1, 2, 3, 4, 5]) == pytest.approx(4 / 32)
    # A zero says nothing of a direction: it is dropped.
    assert wilcoxon([0, 1, 2, 3, 4, 5]) == pytest.approx(2 / 32)
    assert wilcoxon([0.0, 0.0, 1e-13]) == 1.0


def test_wilcoxon_is_exact_with_and_without_ties():
    draw = np.random.default_rng(0)
    for n in (4, 8, 10):
        assert wilcoxon(found := draw.normal(0.5, 1, n).tolist()) == pytest.approx(all_signs(found))
        tied = [float(k) for k in draw.integers(1, 4, n) * draw.choice([-1, 1], n)]
        assert wilcoxon(tied) == pytest.approx(all_signs(tied))


def test_wilcoxon_of_many_pairs_is_scipys():
    draw = np.random.default_rng(1)
    a, b = draw.uniform(50, 90, 33), draw.uniform(50, 90, 33)
    assert wilcoxon((a - b).tolist()) == pytest.approx(scipy_stats.wilcoxon(a, b, method="exact").pvalue)
    tied = draw.integers(-3, 4, 60).astype(float)
    found = scipy_stats.wilcoxon(tied, zero_method="wilcox", method="asymptotic").pvalue
    assert wilcoxon(tied.tolist()) == pytest.approx(found)


def test_holm_by_hand():
    # Sorted 0.01, 0.02, 0.03, 0.04 times 4, 3, 2, 1, made non-decreasing: 0.04, 0.06, 0.06, 0.06.
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_only_whole_methods_are_compared_and_count_as_family():
    reference = [70.0, 71.0, 72.0, 73.0, 74.0]
    better = [value + k for k, value in enumerate(reference, start=1)]
    found = compare(reference, {"better": better, "same": reference, "half": [*reference[:4], None]})
    assert set(found) == {"better", "same"}
    assert found["better"].difference == pytest.approx(3.0)
    assert (found["better"].p, found["better"].p_holm) == pytest.approx((2 / 32, 4 / 32))
    assert (found["same"].p, found["same"].p_holm, found["same"].pairs) == (1.0, 1.0, 5)
    assert compare([None, *reference[1:]], {"better": better}) == {}
