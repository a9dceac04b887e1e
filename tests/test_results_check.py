"""The schema of results.json: the metrics of a test and the memory, with values that no run writes."""

import json

import pytest

from runs.results import decode_results

RUN = {"protocol": "few_shot", "dataset": "busi", "backbone": "Tiny", "method": "CoOp", "shots": 1, "seed": 1}
METRICS = {
    "accuracy": 60.0,
    "balanced_accuracy": 62.5,
    "auroc_interval": [70.5, 80.5],
    "brier": 0.5,
    "sensitivity": {"ill": 61.25, "well": None},
    "specificity": {"ill": None, "well": 99.5},
    "confusion_matrix": [[49, 31], [0, 0]],
}


def decoded(memory=None, **values):
    results = {**RUN, "memory": memory, "metrics": {"all": {**METRICS, **values}}}
    return decode_results(json.dumps(results).encode())


def test_what_runs_write_is_accepted():
    assert decoded()["metrics"]["all"] == METRICS
    assert decoded({"peak_bytes": 2**30, "of": "GPU"})["memory"]["peak_bytes"] == 2**30


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"specificity": {"a": "90"}}, "specificity: '90' is no percentage"),
        ({"sensitivity": {"a": float("nan")}}, "sensitivity: nan is no percentage"),
        ({"sensitivity": [90.0]}, r"sensitivity: \[90.0\] is no object"),
        ({"balanced_accuracy": 101}, "balanced_accuracy: 101 is no percentage"),
        ({"brier": 2.5}, "brier: 2.5 is no number from 0 to 2"),
        ({"brier": float("nan")}, "brier: nan is no number from 0 to 2"),
        ({"auroc_interval": [90.0]}, r"auroc_interval: \[90.0\] is no interval"),
        ({"auroc_interval": [90.0, 80.0]}, r"auroc_interval: \[90.0, 80.0\] is no interval"),
        ({"auroc_interval": [None, 80.0]}, "auroc_interval: None is no percentage"),
        ({"confusion_matrix": "1 2"}, "confusion_matrix: '1 2' is no list"),
        ({"confusion_matrix": [[1, 2], [3]]}, r"confusion_matrix: \[3\] is no row of 2 counts"),
        ({"confusion_matrix": [[]]}, r"confusion_matrix: \[\] is no row of 1 counts"),
        ({"confusion_matrix": [[-1]]}, r"confusion_matrix: \[-1\] is no row of 1 counts"),
        ({"confusion_matrix": [[True]]}, r"confusion_matrix: \[True\] is no row of 1 counts"),
        ({"confusion_matrix": [[float("nan")]]}, r"confusion_matrix: \[nan\] is no row of 1 counts"),
        ({"confusion_matrix": [[10**400]]}, "is no row of 1 counts"),
        ({"memory": {"peak_bytes": -1, "of": "GPU"}}, "memory: peak_bytes: -1 is no integer"),
        ({"memory": {"peak_bytes": 1, "of": "=1"}}, "memory: '=1' has no memory"),
        ({"memory": {"peak_bytes": 1, "of": ["GPU"]}}, r"memory: \['GPU'\] has no memory"),
        ({"memory": [1]}, r"memory: \[1\] is no object"),
    ],
)
def test_anything_else_is_refused(values, reason):
    with pytest.raises(ValueError, match=reason):
        decoded(**values)


def test_results_of_earlier_versions_are_accepted():
    """Without the keys of today, with the earlier name of sensitivity, and with a matrix of fractions."""
    earlier = {"accuracy": 60.0, "per_class_accuracy": {"a": 50.0}, "confusion_matrix": [[0.5, 0.5], [0.0, 1.0]]}
    found = decode_results(json.dumps({**RUN, "metrics": {"all": earlier}}).encode())
    assert found["metrics"]["all"]["sensitivity"] == {"a": 50.0}
