"""Measures of a map in a lesion, and curves of insertion and deletion: by hand, and against other libraries."""

import numpy as np
import pytest
import torch

from evidence.faithfulness import curve_areas
from evidence.measures import (
    auroc,
    enrichment,
    iou,
    lesion_patches,
    mass,
    measure_maps,
    pointing,
)
from evidence.results import MEASURES

VALUES = torch.tensor([[4.0, 1, 0], [3, 2, 1], [0, 0, 9]])
INSIDE = torch.tensor([[1.0, 0.25, 0], [0.5, 0.5, 0], [0, 0, 0]])  # three lesion patches
ALL = torch.ones(3, 3, dtype=torch.bool)
EVERY = torch.ones(2, 2, dtype=torch.bool)
NOT_LAST = ALL.clone()
NOT_LAST[2, 2] = False


def measure_all(values, inside, counted):
    return measure_maps(values[None], inside, counted)[0]


@pytest.mark.parametrize(
    ("counted", "expected"),
    [
        # 4 + 0.25 + 1.5 + 1 = 6.75 of 20; the area is 2.25 / 9; the largest value is √2 from the nearest lesion patch;
        # of the lesion patches 4, 3, 2 the first two are among the three largest; of 18 pairs of a lesion patch with
        # 1, 0, 1, 0, 0, 9 it is smaller in 3.
        (ALL, (6.75 / 20, 6.75 / 20 / 0.25, 0, 2 / 4, 15 / 18)),
        # without the 9: 6.75 of 11; the area is 2.25 / 8; all else is perfect.
        (NOT_LAST, (6.75 / 11, 6.75 / 11 / (2.25 / 8), 1, 1, 1)),
    ],
)
def test_measures_by_hand(counted, expected):
    found = measure_all(VALUES, INSIDE, counted)
    assert tuple(found) == MEASURES
    assert tuple(found.values()) == pytest.approx(expected, abs=1e-12)


def test_pointing_allows_a_distance():
    inside = torch.zeros(5, 5)
    inside[2, 1] = 1
    hits = {}
    for row in range(5):
        for column in range(5):
            values = torch.zeros(5, 5)
            values[row, column] = 1
            hits[row, column] = [float(pointing(values, inside, inside >= 0, tolerance=t)) for t in (0, 1, 1.5)]
    assert [cell for cell, (t, _, _) in hits.items() if t] == [(2, 1)]
    assert [cell for cell, (_, t, _) in hits.items() if t] == [(1, 1), (2, 0), (2, 1), (2, 2), (3, 1)]
    assert sum(t for _, _, t in hits.values()) == 9


def test_a_lesion_next_to_a_patch_that_does_not_count():
    inside, counted, values = torch.zeros(1, 4), torch.ones(1, 4, dtype=torch.bool), torch.tensor([[0.0, 5, 1, 0]])
    inside[0, 0] = 1
    assert pointing(values, inside, counted) == 1
    counted[0, 1] = False
    assert pointing(values, inside, counted) == 0, "the largest value that counts is two patches away"
    counted[0, 0] = False
    assert set(measure_all(values, inside, counted).values()) == {None}, "no lesion among the patches that count"


def test_equal_values_do_not_depend_on_the_order_of_patches():
    same, inside = torch.ones(3, 3), torch.zeros(3, 3)
    inside[0, :2] = 1  # five patches are in the lesion or beside it
    # two of nine patches are lesion, and two places are shared by nine: 4/9 of a patch is in both
    expected = (2 / 9, 1, 5 / 9, (4 / 9) / (4 - 4 / 9), 0.5)
    for turned in range(4):
        found = measure_all(same, torch.rot90(inside, turned), ALL)
        assert tuple(found.values()) == pytest.approx(expected, abs=1e-12)


def test_a_small_lesion_is_where_its_share_is_largest():
    inside = torch.tensor([[0.1, 0.4], [0.4, 0.0]])
    every, some = torch.ones(2, 2, dtype=torch.bool), torch.tensor([[True, False], [False, True]])
    assert lesion_patches(inside, every).tolist() == [[False, True], [True, False]]
    assert lesion_patches(inside, some).tolist() == [[True, False], [False, False]]
    assert not lesion_patches(inside * 0, every).any()
    assert measure_all(torch.tensor([[0.0, 2], [1, 1]]), inside, every) == pytest.approx(
        {"mass": 0.3, "enrichment": 0.3 / 0.225, "pointing": 1, "iou": (1 + 0.5) / (4 - 1.5), "auroc": 3.5 / 4}
    )


def test_what_is_not_defined_is_none():
    nothing = measure_all(VALUES * 0, INSIDE, ALL)
    assert nothing == pytest.approx({"mass": None, "enrichment": None, "pointing": 7 / 9, "iou": 1 / 5, "auroc": 0.5})
    assert measure_all(VALUES, INSIDE * 0, ALL) == dict.fromkeys(MEASURES)
    assert measure_all(VALUES, INSIDE, ~ALL) == dict.fromkeys(MEASURES), "no patch counts"
    assert measure_all(VALUES, INSIDE * 0 + 1, ALL) == {
        **{"mass": 1, "enrichment": 1, "pointing": 1, "iou": 1},
        "auroc": None,
    }


def random_case(seed):
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 30, (6, 7, 8)).astype(np.float32)  # with ties
    inside = np.zeros((7, 8), dtype=np.float32)
    inside[2:5, 1:6] = rng.random((3, 5)) > 0.3
    counted = rng.random((7, 8)) > 0.2
    return values, inside, counted


def test_many_maps_at_once():
    values, inside, counted = random_case(0)
    assert measure_maps(values, inside, counted) == [measure_all(one, inside, counted) for one in values]


@pytest.mark.parametrize("seed", range(3))
def test_measures_against_other_libraries(seed):
    from sklearn.metrics import jaccard_score, roc_auc_score

    values, inside, counted = random_case(seed)
    truth = inside[counted] > 0
    distinct = values + np.linspace(0, 0.5, values[0].size).reshape(values[0].shape)
    for one, without_ties in zip(values, distinct, strict=True):
        assert auroc(one, inside, counted) == pytest.approx(roc_auc_score(truth, one[counted]), abs=1e-12)
        largest = without_ties[counted] >= np.sort(without_ties[counted])[-truth.sum()]
        assert iou(without_ties, inside, counted) == pytest.approx(jaccard_score(truth, largest), abs=1e-12)
        assert mass(one, inside, counted) == pytest.approx(np.average(truth, weights=one[counted]), abs=1e-12)
    assert np.allclose(enrichment(values, inside, counted), mass(values, inside, counted) / truth.mean(), atol=1e-12)


def test_measures_against_quantus():
    quantus = pytest.importorskip(
        "quantus", reason="needs Quantus, whose opencv-python overwrites opencv-python-headless"
    )
    values, inside, _ = random_case(0)
    values = values.astype(np.float64) + np.linspace(0, 0.5, values[0].size).reshape(values[0].shape)
    counted, count = inside >= 0, int(inside.sum())
    maps, masks = values[:, None], np.repeat(inside[None, None], len(values), axis=0)
    options = {"abs": False, "normalise": False, "disable_warnings": True, "display_progressbar": False}

    def theirs(name, **more):
        metric = getattr(quantus, name)(**options, **more)
        scores = metric(model=None, x_batch=maps, y_batch=np.zeros(len(maps)), a_batch=maps, s_batch=masks)
        return np.array(scores, dtype=np.float64)

    assert np.allclose(theirs("RelevanceMassAccuracy"), mass(values, inside, counted), atol=1e-12)
    assert np.allclose(theirs("AttributionLocalisation"), mass(values, inside, counted), atol=1e-9)
    assert theirs("PointingGame").tolist() == pointing(values, inside, counted, tolerance=0).tolist()
    assert np.allclose(theirs("AUC"), auroc(values, inside, counted), atol=1e-12)
    overlap = theirs("RelevanceRankAccuracy")  # the share of the lesion patches among the n largest values
    assert np.allclose(overlap * count / (2 * count - overlap * count), iou(values, inside, counted), atol=1e-12)


# A score that adds the brightness of four patches of two by two pixels, with these weights.
WEIGHTS = torch.tensor([[0.5, 0.2], [0.0, 0.3]])


def linear(pixels):
    return (pixels[:, 0].unflatten(2, (2, 2)).unflatten(1, (2, 2)).mean((2, 4)) * WEIGHTS).sum((1, 2))


def test_curves_by_hand():
    found = curve_areas(torch.ones(3, 4, 4), torch.tensor([[9.0, 1], [0, 2]]), linear, EVERY, 14)
    # insertion: 0, .5, .8, 1, 1; deletion: 1, .5, .2, 0, 0
    assert found == pytest.approx({"insertion": (0.5 + 0.8 + 1 + 0.5) / 4, "deletion": (0.5 + 0.5 + 0.2) / 4}, abs=1e-6)


def test_a_curve_has_as_many_steps_as_asked_for_and_one_call():
    calls = []

    def counting(pixels):
        calls.append(len(pixels))
        return linear(pixels)

    found = curve_areas(torch.ones(3, 4, 4), torch.tensor([[9.0, 1], [0, 2]]), counting, EVERY, 2)
    # insertion: 0, .8, 1; deletion: 1, .2, 0
    assert found == pytest.approx({"insertion": (0.4 + 0.9) / 2, "deletion": (0.6 + 0.1) / 2}, abs=1e-6)
    assert calls == [4]


def test_patches_that_do_not_count_are_never_removed():
    counted = torch.tensor([[True, False], [True, True]])
    found = curve_areas(torch.ones(3, 4, 4), torch.tensor([[1.0, 9], [0, 2]]), linear, counted, 14)
    # the patch of 0.2 is always there, then .3, .5, 0; insertion: .2, .5, 1, 1; deletion: 1, .7, .2, .2
    assert found == pytest.approx({"insertion": (0.35 + 0.75 + 1) / 3, "deletion": (0.85 + 0.45 + 0.2) / 3}, abs=1e-6)
    with pytest.raises(ValueError, match="no patch counts"):
        curve_areas(torch.ones(3, 4, 4), torch.ones(2, 2), linear, counted & False, 14)


def test_the_true_map_is_better_than_its_reverse():
    pixels = torch.rand(3, 4, 4, generator=torch.Generator().manual_seed(0)) + 0.5
    true, wrong, even = (curve_areas(pixels, m, linear, EVERY, 14) for m in (WEIGHTS, -WEIGHTS, WEIGHTS * 0))
    assert wrong["insertion"] < even["insertion"] < true["insertion"]
    assert true["deletion"] < even["deletion"] < wrong["deletion"]


def test_sides_that_patches_do_not_divide():
    found = curve_areas(
        torch.ones(3, 5, 5), torch.tensor([[9.0, 1], [0, 2]]), lambda pixels: pixels.mean((1, 2, 3)), EVERY, 14
    )
    assert found["insertion"] == pytest.approx(1 - found["deletion"], abs=1e-6), "every pixel belongs to one patch"
