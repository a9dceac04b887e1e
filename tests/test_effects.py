"""Effects over images: by hand, planted, and none where there is none."""

import math

import numpy as np
import pytest
from scipy import stats

from evidence.measures import mass, measure_maps
from evidence.statistics import correlation, effects

SEED = 3


def effect(differences, seed):
    return effects({"": differences}, seed)[""]


def test_an_effect_by_hand():
    found = effect([0.1, None, 0.3, 0.2, 0.4, None, 0.6], SEED)
    assert (found.images, found.mean) == (5, pytest.approx(0.32))
    assert found.p == found.p_holm == pytest.approx(2 / 2**5), "all five are positive: two of 32 ways of signs"
    assert 0.1 < found.low < 0.25 < 0.4 < found.high < 0.6


def test_the_interval_is_that_of_scipy():
    differences = np.random.default_rng(0).gamma(2, size=60) - 1.5
    found = effect(differences.tolist(), SEED)
    theirs = stats.bootstrap(
        [differences], np.mean, n_resamples=10_000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    width = theirs.high - theirs.low
    assert abs(found.low - theirs.low) < 0.03 * width
    assert abs(found.high - theirs.high) < 0.03 * width
    assert found == effect(differences.tolist(), SEED)
    assert found.low != effect(differences.tolist(), SEED + 1).low


def test_few_images():
    none, one, two = (effect([0.5, None, 0.7][:count], SEED) for count in (0, 1, 3))
    assert (none.images, none.p) == (0, 1)
    assert all(map(math.isnan, (none.mean, none.low, none.high, one.low, one.high)))
    assert (one.images, one.mean, one.p) == (1, 0.5, 1)
    assert (two.images, two.mean, two.low, two.high, two.p) == (2, pytest.approx(0.6), 0.5, pytest.approx(0.7), 0.5)


def test_effects_are_corrected_over_the_conditions_that_have_images():
    rising = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]  # p = 2 / 64
    columns = {
        "a": rising,
        "b": [-value for value in rising],
        "c": [0.0] * 6,
        "d": [None] * 6,
        "e": [*rising[:5], None],
    }
    found = effects(columns, SEED)
    assert {name: one.p for name, one in found.items()} == pytest.approx(
        {"a": 1 / 32, "b": 1 / 32, "c": 1, "d": 1, "e": 1 / 16}
    )
    assert {name: one.p_holm for name, one in found.items()} == pytest.approx(
        {"a": 4 / 32, "b": 4 / 32, "c": 1, "d": 1, "e": 2 / 16}
    )
    assert (found["b"].low, found["b"].high) == pytest.approx((-found["a"].high, -found["a"].low)), "the same draws"
    assert (found["c"].low, found["c"].high) == (0, 0)
    alone = effect(columns["a"], SEED)
    assert (alone.low, alone.high) == pytest.approx((found["a"].low, found["a"].high))


def test_correlation():
    found = correlation([1, 2, None, 3, 4, 5], [2, 1, 7, 4, 3, None])
    # ranks 1 2 3 4 and 2 1 4 3: 1 - 6 · 4 / (4 · 15)
    assert (found.rho, found.images) == (pytest.approx(0.6), 4)
    assert found.p == pytest.approx(2 * stats.t.sf(0.6 * math.sqrt(2 / (1 - 0.36)), 2))
    assert correlation([1, 2, 3], [5, 5, 5]) is None
    assert correlation([1, None, 3], [1, 2, 3]) is None
    assert correlation([], []) is None


IMAGES, SIDE = 40, 6
EVERY = np.ones((SIDE, SIDE), dtype=bool)


def lesions(rng):
    """One lesion of three by three patches in each image."""
    masks = np.zeros((IMAGES, SIDE, SIDE))
    for mask, (row, column) in zip(masks, rng.integers(SIDE - 2, size=(IMAGES, 2)), strict=True):
        mask[row : row + 3, column : column + 3] = 1
    return masks


def with_mass(mask, share, rng):
    """A random map that sums to 1, of which a share lies in the lesion."""
    values = rng.random(mask.shape) + 0.1
    within, outside = values * mask, values * (1 - mask)
    return share * within / within.sum() + (1 - share) * outside / outside.sum()


def test_a_planted_effect_is_found_with_its_size():
    rng = np.random.default_rng(SEED)
    differences = {"mass": [], "enrichment": []}
    for mask in lesions(rng):
        share = rng.uniform(0.2, 0.6)
        maps = np.stack([with_mass(mask, share, rng), with_mass(mask, share + 0.1, rng)])
        before, after = measure_maps(maps, mask, EVERY)
        assert before["mass"] == pytest.approx(share)
        for name, column in differences.items():
            column.append(after[name] - before[name])
    found = effects(differences, SEED)
    assert [found["mass"].mean, found["mass"].low, found["mass"].high] == pytest.approx([0.1] * 3)
    assert found["enrichment"].mean == pytest.approx(0.1 / (9 / SIDE**2))
    assert found["mass"].p_holm < 1e-6


def test_nothing_is_found_with_the_masks_of_other_images():
    """Both maps of an image are drawn alike, and the masks shuffled: p values are uniform."""
    rng, columns = np.random.default_rng(SEED), {}
    for repeat in range(200):
        masks = lesions(rng)
        maps = rng.gamma(0.5, size=(2, *masks.shape))
        other = masks[rng.permutation(IMAGES)]
        shares = [mass(maps[:, image], other[image], EVERY) for image in range(IMAGES)]
        columns[str(repeat)] = [float(after - before) for before, after in shares]
    found = effects(columns, SEED)
    p_values = [one.p for one in found.values()]
    assert stats.kstest(p_values, "uniform").pvalue > 0.01
    assert 3 <= sum(p < 0.05 for p in p_values) <= 19, "10 of 200 are expected, with a standard deviation of 3.1"
    covered = sum(one.low <= 0 <= one.high for one in found.values())
    assert 178 <= covered <= 198, "190 are expected; intervals of this kind are a little short for 40 images"
    assert min(one.p_holm for one in found.values()) > 0.05
