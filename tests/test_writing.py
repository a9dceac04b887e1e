"""Rows of predictions: their numbers, their formats, and how many files are read ahead of them."""

import io
import json
import math
import os
import threading

import numpy as np
import pytest

from biomed_dpt.prediction import Prediction, _ahead
from biomed_dpt.writing import RowWriter, format_of
from dassl.errors import InputError


def test_a_few_files_are_read_ahead_and_no_more():
    lock, started, largest, taken = threading.Lock(), [], [], []

    def work(item):
        with lock:
            started.append(item)
        return item

    for item in _ahead(work, range(40), 3, 5):
        taken.append(item)
        largest.append(len(started) - len(taken))
    assert taken == [*range(40)]
    assert max(largest) <= 5


def test_ranks_and_entropy_by_hand():
    found = Prediction("x", np.array([0.25, 0.5, 0.25, 0.0]))
    assert found.ranked == [1, 0, 2, 3]
    assert found.entropy == pytest.approx(1.5 * math.log(2))
    assert Prediction("x", np.array([1.0, 0.0])).entropy == 0
    assert math.isnan(Prediction("x", error="bad").entropy)


def test_text_from_files_is_safe_in_both_formats():
    found = Prediction("\udcff\n.png", np.array([0.1, 0.9]))
    table, lines = io.StringIO(), io.StringIO()
    RowWriter(table, "csv", ["=a", "-b"], more=["set"]).write(found, set=["-b", "=a"])
    RowWriter(lines, "jsonl", ["=a", "-b"], top=1, more=["set"]).write(found, set=[])
    assert table.getvalue().splitlines() == [
        "file,error,predicted,probability of =a,probability of -b,entropy,set",
        "\\udcff\\n.png,,'-b,0.1,0.9,0.32508297,'-b; =a",
    ]
    assert json.loads(lines.getvalue()) == {
        "file": "\udcff\n.png", "predicted": "-b", "probabilities": {"-b": 0.9}, "entropy": 0.32508297, "set": [],
    }  # fmt: skip


def test_formats():
    assert [format_of(name) for name in ("", "a.CSV", "a.jsonl", "a.ndjson")] == ["csv", "csv", "jsonl", "jsonl"]
    assert format_of("a.txt", "jsonl") == "jsonl"
    with pytest.raises(InputError, match="is no file"):
        format_of(os.devnull, "csv")
