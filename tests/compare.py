"""How results are compared that were computed twice."""

import pytest


def assert_same_evaluation(found, expected):
    """The same decisions on every image; other metrics but for the rounding of logits."""
    assert found.keys() == expected.keys()
    for part in expected:
        for name in ("total", "correct", "per_class_accuracy"):
            assert found[part][name] == expected[part][name]
        for name in ("macro_f1", "auroc", "ece"):
            assert found[part][name] == pytest.approx(expected[part][name], abs=1e-2)
