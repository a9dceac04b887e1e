"""The metrics of a test set, each by hand on a few images."""

import numpy as np
import pytest
import sklearn
import torch
from sklearn.metrics import balanced_accuracy_score, brier_score_loss, roc_auc_score

from dassl.config import get_cfg_default
from dassl.evaluation import build_evaluator
from dassl.evaluation import metrics as module
from dassl.evaluation.metrics import auroc_interval, brier_score, classification_metrics, sensitivities, specificities

NAMES = {0: "a", 1: "b", 2: "c"}


def predicted(*pairs, classes=3):
    """Logits whose largest is that of the predicted class, and labels, of (true, predicted) pairs."""
    labels, largest = torch.tensor(pairs).T
    return torch.nn.functional.one_hot(largest, classes).double() * 2, labels


def test_confusion_matrix_sensitivity_and_specificity_by_hand():
    # a: 3 of 4 right, one taken for b; b: 1 of 2 right, one taken for c; c: both right.
    metrics = classification_metrics(
        *predicted((0, 0), (0, 0), (0, 0), (0, 1), (1, 1), (1, 2), (2, 2), (2, 2)), lab2cname=NAMES
    )
    assert metrics["confusion_matrix"] == [[3, 1, 0], [0, 1, 1], [0, 0, 2]]
    assert metrics["sensitivity"] == {"a": 75.0, "b": 50.0, "c": 100.0}
    # None of the 4 others is taken for a; 1 of 6 for b; 1 of 6 for c.
    assert metrics["specificity"] == {"a": 100.0, "b": 83.333333, "c": 83.333333}
    assert metrics["balanced_accuracy"] == 75.0
    assert metrics["accuracy"] == 75.0


def test_a_class_without_images_has_no_sensitivity():
    # Two images of a, one of them taken for c; one of b; none of c.
    metrics = classification_metrics(*predicted((0, 0), (0, 2), (1, 1)), lab2cname=NAMES)
    assert metrics["sensitivity"] == {"a": 50.0, "b": 100.0, "c": None}
    assert metrics["specificity"] == {"a": 100.0, "b": 100.0, "c": 66.666667}
    assert metrics["balanced_accuracy"] == 75.0
    assert metrics["confusion_matrix"] == [[1, 0, 1], [0, 1, 0], [0, 0, 0]]
    assert metrics["auroc"] is metrics["auroc_interval"] is None
    one = classification_metrics(*predicted((1, 1), (1, 0)), lab2cname=NAMES)
    assert one["specificity"] == {"a": 50.0, "b": None, "c": 100.0}


def test_counts_give_the_same_numbers_as_scikit_learn():
    generator = np.random.default_rng(1)
    true, found = generator.integers(4, size=(2, 60))
    counts = sklearn.metrics.confusion_matrix(true, found)
    assert np.mean(sensitivities(counts)) == pytest.approx(100 * balanced_accuracy_score(true, found), abs=1e-5)
    of_rest = [100 * np.mean(found[true != c] != c) for c in range(4)]
    assert specificities(counts) == pytest.approx(of_rest, abs=1e-5)


def test_brier_score_by_hand():
    # (1 − 0.7)² + 0.2² + 0.1² = 0.14; 0.5² + (1 − 0.5)² + 0² = 0.5; mean 0.32.
    probabilities = np.array([[0.7, 0.2, 0.1], [0.5, 0.5, 0.0]])
    assert brier_score(probabilities, np.array([0, 1])) == 0.32
    assert brier_score(np.eye(3), np.arange(3)) == 0
    assert brier_score(np.eye(3), np.array([1, 2, 0])) == 2
    if tuple(map(int, sklearn.__version__.split(".")[:2])) >= (1, 7):
        found = brier_score_loss([0, 1], probabilities, labels=[0, 1, 2], scale_by_half=False)
        assert brier_score(probabilities, np.array([0, 1])) == pytest.approx(found, abs=1e-6)


def noisy(classes, images=60):
    generator = torch.Generator().manual_seed(classes)
    labels = torch.arange(images) % classes
    logits = torch.randn(images, classes, generator=generator, dtype=torch.float64)
    logits[torch.arange(images), labels] += 1
    return logits, labels


def test_a_perfect_classifier_has_the_interval_of_a_perfect_classifier():
    metrics = classification_metrics(*predicted((0, 0), (1, 1), (2, 2), (0, 0), (2, 2)))
    assert (metrics["auroc"], metrics["auroc_interval"]) == (100, [100.0, 100.0])
    # All images alike: every pair is a tie, which counts half.
    assert auroc_interval(np.full((6, 2), 0.5), np.array([0, 0, 0, 1, 1, 1])) == [50.0, 50.0]


@pytest.mark.parametrize("classes", [2, 3])
def test_the_interval_is_that_of_resampled_images(monkeypatch, classes):
    """The same resamples, with images in place of weights and scikit-learn in place of ranks."""
    monkeypatch.setattr(module, "RESAMPLES", 40)
    logits, labels = noisy(classes)
    true = labels.numpy()
    probabilities = (logits * 4).round().softmax(1).numpy()  # some scores are equal
    found = auroc_interval(probabilities, true)
    generator, members = np.random.default_rng(0), [np.flatnonzero(true == c) for c in range(classes)]
    weights = module._resampled(generator, members, len(true), 40).astype(int)
    assert all(weights[:, of_class].sum(1).tolist() == [len(of_class)] * 40 for of_class in members)
    values = []
    for row in weights:
        drawn = np.repeat(np.arange(len(true)), row)
        scores = probabilities[drawn] if classes > 2 else probabilities[drawn, 1]
        values.append(100 * roc_auc_score(true[drawn], scores, multi_class="ovr"))
    assert found == pytest.approx(np.percentile(values, [2.5, 97.5]), abs=1e-5)


def test_the_interval_holds_the_value_narrows_with_images_and_is_the_same_again():
    logits, labels = noisy(3)
    metrics = classification_metrics(logits, labels)
    low, high = metrics["auroc_interval"]
    assert low < metrics["auroc"] < high
    assert classification_metrics(logits, labels) == metrics
    more = classification_metrics(logits.repeat(9, 1), labels.repeat(9))
    assert more["auroc"] == pytest.approx(metrics["auroc"])
    # A third of the width, as of the standard error.
    assert (more["auroc_interval"][1] - more["auroc_interval"][0]) / (high - low) == pytest.approx(1 / 3, abs=0.06)


def test_the_evaluator_computes_all_metrics_only_where_they_are_read(monkeypatch, capsys):
    cfg = get_cfg_default()
    cfg.TEST.COMPUTE_CMAT = True
    calls = []
    monkeypatch.setattr(module, "auroc_interval", lambda *_: calls.append(1) or [0.0, 100.0])
    evaluator = build_evaluator(get_cfg_default(), lab2cname=NAMES)
    assert evaluator.metrics == {}
    evaluator.reset()
    evaluator.process(*predicted((0, 0), (1, 1), (2, 1)))
    assert evaluator.evaluate()["accuracy"] == pytest.approx(200 / 3)
    assert calls == []
    assert evaluator.metrics is evaluator.metrics
    assert calls == [1]
    evaluator.reset()
    assert evaluator.metrics == {}
    printing = build_evaluator(cfg, lab2cname=NAMES)
    printing.process(*predicted((0, 0), (1, 1), (2, 1)))
    capsys.readouterr()
    printing.evaluate()
    assert capsys.readouterr().out.endswith("     1      0      0\n     0      1      0\n     0      1      0\n")
