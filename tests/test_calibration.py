"""Temperature and prediction sets: by hand, against libraries, and the coverage that is reached."""

import math

import numpy as np
import pytest
import sklearn
import torch
from packaging.version import Version

from dassl.errors import InputError
from trainers.calibration import conformal_threshold, fit_temperature, images_needed, prediction_sets


def two_classes(right, wrong, margin):
    """Logits and labels of images whose logits differ by a margin."""
    count = right + wrong
    return torch.tensor([[margin, 0.0]] * count), torch.tensor([0] * right + [1] * wrong)


def random_images(count, classes, seed):
    """Logits, and labels that are drawn from sharper probabilities."""
    rng = np.random.default_rng(seed)
    logits = 2 * rng.normal(size=(count, classes))
    sharp = np.exp(1.5 * logits) / np.exp(1.5 * logits).sum(1, keepdims=True)
    labels = (sharp.cumsum(1) > rng.uniform(size=(count, 1))).argmax(1)
    return torch.tensor(logits), torch.tensor(labels)


@pytest.mark.parametrize(("right", "wrong", "q"), [(6, 2, (6 * 9 + 2) / 80), (8, 0, 9 / 10), (2, 0, 3 / 4)])
def test_temperature_of_two_classes_has_a_closed_form(right, wrong, q):
    """The mean target of class 0 is q, so that the best T gives it this probability: 1 / (1 + exp(-3 / T)) = q."""
    assert fit_temperature(*two_classes(right, wrong, 3.0)) == pytest.approx(3 / math.log(q / (1 - q)), rel=1e-6)


def test_temperature_scales_with_the_logits():
    logits, labels = random_images(50, 4, seed=0)
    expected = fit_temperature(logits, labels)
    assert [fit_temperature(scale * logits, labels) / scale for scale in (1e-5, 1e3)] == pytest.approx([expected] * 2)


def test_temperature_at_its_limits():
    assert fit_temperature(*two_classes(0, 5, 3.0)) == pytest.approx(30, rel=1e-6)
    assert fit_temperature(torch.ones(5, 3), torch.zeros(5, dtype=torch.long)) == 1
    assert fit_temperature(torch.randn(5, 1), torch.zeros(5, dtype=torch.long)) == 1
    with pytest.raises(InputError, match="there are none"):
        fit_temperature(torch.empty(0, 3), torch.empty(0, dtype=torch.long))
    with pytest.raises(InputError, match="not finite"):
        fit_temperature(torch.tensor([[math.nan, 0.0]]), torch.tensor([0]))


@pytest.mark.filterwarnings("ignore:Since FrozenEstimator does not appear to accept sample_weight")
@pytest.mark.skipif(Version(sklearn.__version__) < Version("1.8"), reason="needs scikit-learn 1.8: temperature scaling")
def test_temperature_agrees_with_scikit_learn():
    """Each image is given once for each class, weighted by its target."""
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.frozen import FrozenEstimator

    class Logits(ClassifierMixin, BaseEstimator):
        classes_ = np.arange(3)

        def fit(self, x, y):
            self.fitted_ = True
            return self

        def decision_function(self, x):
            return x

        def predict(self, x):
            return x.argmax(1)

    logits, labels = random_images(40, 3, seed=1)
    targets = torch.full((40, 3), 1 / (42 * 2), dtype=torch.float64).scatter_(1, labels[:, None], 41 / 42)
    x, y = logits.repeat_interleave(3, 0).numpy(), np.tile(np.arange(3), 40)
    theirs = CalibratedClassifierCV(FrozenEstimator(Logits().fit(x, y)), method="temperature")
    theirs.fit(x, y, sample_weight=targets.flatten().numpy())
    ours = (logits / fit_temperature(logits, labels)).softmax(1).numpy()
    np.testing.assert_allclose(ours, theirs.predict_proba(logits.numpy()), atol=1e-6)


def test_images_that_are_needed():
    assert [images_needed(c) for c in (0.5, 0.8, 0.9, 0.95, 0.99)] == [1, 4, 9, 19, 99]
    for coverage in (0, 1, 1.5, math.nan):
        with pytest.raises(InputError, match="between 0 and 1"):
            images_needed(coverage)
    with pytest.raises(InputError, match=r"0\.9 need 9 calibration images, and there are 8"):
        conformal_threshold(torch.full((8, 2), 0.5), torch.zeros(8, dtype=torch.long), 0.9, "lac")
    with pytest.raises(InputError, match="unknown kind of prediction sets 'raps'"):
        conformal_threshold(torch.full((9, 2), 0.5), torch.zeros(9, dtype=torch.long), 0.9, "raps")


FOUR = torch.tensor([[0.7, 0.2, 0.1], [0.3, 0.6, 0.1], [0.5, 0.1, 0.4], [0.2, 0.3, 0.5]], dtype=torch.float64)


@pytest.mark.parametrize(("coverage", "expected"), [(0.2, 0.3), (0.5, 0.6), (0.6, 0.6), (0.8, 0.8)])
def test_lac_by_hand(coverage, expected):
    """The scores 1 - p are 0.3, 0.4, 0.6 and 0.8; the threshold is the one at ⌈5 · coverage⌉."""
    threshold = conformal_threshold(FOUR, torch.tensor([0, 1, 2, 0]), coverage, "lac")
    assert threshold == pytest.approx(expected)


def test_lac_sets_by_hand():
    assert prediction_sets(FOUR, 0.55, "lac").tolist() == [
        [True, False, False],
        [False, True, False],
        [True, False, False],
        [False, False, True],
    ]
    assert not prediction_sets(FOUR, 0.25, "lac").any()


def test_aps_by_hand():
    """Scores: the sum above the label's probability, plus 1 - u of it; u is 0.5488, 0.7152, 0.6028, 0.5449."""
    u = [0.5488, 0.7152, 0.6028, 0.5449]
    scores = sorted([(1 - u[0]) * 0.7, (1 - u[1]) * 0.6, 0.5 + (1 - u[2]) * 0.4, 0.8 + (1 - u[3]) * 0.2])
    found = [conformal_threshold(FOUR, torch.tensor([0, 1, 2, 0]), c, "aps") for c in (0.2, 0.4, 0.6, 0.8)]
    assert found == pytest.approx(scores, abs=1e-4)
    assert prediction_sets(FOUR, 0.65, "aps").tolist() == [
        [True, False, False],
        [True, True, False],
        [True, False, True],
        [False, True, True],
    ]
    assert prediction_sets(FOUR, 0.0, "aps").sum(1).tolist() == [1] * 4


@pytest.mark.parametrize("kind", ["lac", "aps"])
@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.9])
def test_prediction_sets_agree_with_mapie(kind, coverage):
    classification = pytest.importorskip("mapie.classification", reason="needs MAPIE, of requirements-dev.txt")
    from sklearn.base import BaseEstimator, ClassifierMixin

    class Given(ClassifierMixin, BaseEstimator):
        def fit(self, x, y):
            self.classes_, self.n_features_in_ = np.arange(x.shape[1]), x.shape[1]
            return self

        def predict_proba(self, x):
            return x

        def predict(self, x):
            return x.argmax(1)

    (logits, labels), (others, _) = random_images(57, 5, seed=2), random_images(200, 5, seed=3)
    probabilities, asked = logits.softmax(1), others.softmax(1)
    given = Given().fit(probabilities.numpy(), labels.numpy())
    theirs = classification.SplitConformalClassifier(
        given, confidence_level=coverage, conformity_score=kind, prefit=True, random_state=0
    )
    theirs.conformalize(probabilities.numpy(), labels.numpy())
    _, expected = theirs.predict_set(asked.numpy())
    ours = prediction_sets(asked, conformal_threshold(probabilities, labels, coverage, kind), kind)
    assert 1 < ours.sum(1).double().mean() < 5 or kind == "lac"
    np.testing.assert_array_equal(ours.numpy(), expected[:, :, 0])


@pytest.mark.parametrize(("kind", "low", "high"), [("lac", 0.893, 0.913), ("aps", 0.9, 0.99)])
def test_the_stated_coverage_is_reached(kind, low, high):
    """30 calibration images: the coverage of LAC is ⌈31 · 0.9⌉ / 31 = 0.903 on average, that of APS at least 0.9."""
    logits, labels = random_images(200 * 130, 4, seed=4)
    probabilities = logits.softmax(1).unflatten(0, (200, 130))
    labels, covered = labels.unflatten(0, (200, 130)), []
    for of_draw, truth in zip(probabilities, labels, strict=True):
        threshold = conformal_threshold(of_draw[:30], truth[:30], 0.9, kind)
        inside = prediction_sets(of_draw[30:], threshold, kind).gather(1, truth[30:, None])
        covered.append(inside.double().mean().item())
    assert low < np.mean(covered) < high
