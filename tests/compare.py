"""How results are compared that were computed twice."""

import pytest
import torch


def assert_same_evaluation(found, expected):
    """The same decisions on every image; other metrics but for the rounding of logits."""
    assert found.keys() == expected.keys()
    for part in expected:
        for name in ("total", "correct", "sensitivity"):
            assert found[part][name] == expected[part][name]
        for name in ("macro_f1", "auroc", "ece"):
            assert found[part][name] == pytest.approx(expected[part][name], abs=1e-2)


def assert_same_decisions(logits, expected, tolerance):
    """The expected class (N,) for every image but those on the edge, which are less than half."""
    clear = ~on_the_edge(logits, tolerance)
    assert 2 * clear.sum() >= len(clear)
    assert torch.equal(logits.argmax(1)[clear], expected[clear])


def assert_same_accuracy(logits, labels, expected, tolerance):
    """The expected accuracy in percent; each image on the edge may change it."""
    correct = (logits.argmax(1) == labels).sum().item()
    assert abs(correct - expected * len(labels) / 100) <= on_the_edge(logits, tolerance).sum().item()


def on_the_edge(logits, tolerance):
    """Images (N,) whose two highest logits differ by no more than the tolerance: rounding decides on them."""
    best, second = logits.topk(2, dim=1).values.T
    return best - second <= tolerance
