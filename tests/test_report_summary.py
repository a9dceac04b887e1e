"""The tables that a sweep prints at its end."""

import csv
import re
from pathlib import Path

import pytest

from runs.folder import MARKER
from sweep.plan import Axes
from sweep.report.summary import summary
from tests.result_trees import base2new, few_shot

EXAMPLE = Path(__file__).resolve().parent.parent / "docs" / "example_report"


def table(text, title):
    """The rows of the table with a title: cells by method."""
    block = text[text.index(title) :].split("\n\n")[1]
    rows = [[part.strip() for part in line.split("|")[1:-1]] for line in block.splitlines()]
    assert set(rows[1][0]) == {"-"}
    return {row[0]: row[1:] for row in (rows[0], *rows[2:])}


def test_few_shot_by_hand(tmp_path):
    for seed, accuracy in ((1, 70.0), (2, 72.0), (3, 74.0)):
        few_shot(tmp_path, "busi", "CoOp", 1, seed, accuracy)
    few_shot(tmp_path, "busi", "CoOp", 4, 1, 99.0)
    unfinished = few_shot(tmp_path, "busi", "CoOp", 4, 2, 99.0)
    (unfinished / MARKER).unlink()
    few_shot(tmp_path, "busi", "ZeroShot", 0, 1, 40.0)
    text = summary([Axes("few_shot", ["busi"], "Tiny", ["ZeroShot", "CoOp", "DPT"], [4, 1], [1, 2, 3])], tmp_path)
    # Mean 72, standard deviation 2, t(0.975, 2) = 4.302653: 4.302653 · 2 / √3 = 4.97.
    assert table(text, "busi, Tiny, few_shot, accuracy in %, mean ± 95 % interval over seeds") == {
        "method": ["K=4", "K=1"],
        "ZeroShot": ["40.00", "40.00"],
        "CoOp": ["–", "72.00 ± 4.97"],
        "DPT": ["–", "–"],
    }


def test_one_seed_has_no_interval(tmp_path):
    few_shot(tmp_path, "busi", "CoOp", 1, 1, 70.0)
    few_shot(tmp_path, "busi", "CoOp", 1, 2, 72.0)
    text = summary([Axes("few_shot", ["busi"], "Tiny", ["CoOp"], [1], [1])], tmp_path)
    assert table(text, "busi")["CoOp"] == ["70.00"]


def test_base_to_new_by_hand(tmp_path):
    for seed, (base, new) in enumerate([(80.0, 60.0), (84.0, 62.0)], start=1):
        base2new(tmp_path, "btmri", "CoOp", seed, base, new)
    base2new(tmp_path, "btmri", "CoOp", 1, 70.0, 50.0, shots=4)
    axes = Axes("base2new", ["btmri", "busi"], "Tiny", ["CoOp"], [16], [1, 2])
    text = summary([axes], tmp_path)
    # H of 80, 60: 68.571; of 84, 62: 71.342; mean 69.957, interval 12.706 · 2.771 / 2.
    assert table(text, "btmri, Tiny, base2new, accuracy")["CoOp"] == ["82.00 ± 25.41", "61.00 ± 12.71", "69.96 ± 17.60"]
    assert table(text, "busi, Tiny, base2new, accuracy") == {"method": ["base", "new", "H"], "CoOp": ["–", "–", "–"]}
    text = summary([axes._replace(shots=[4, 16], seeds=[1])], tmp_path)
    assert table(text, "btmri, Tiny, base2new, K=4")["CoOp"] == ["70.00", "50.00", "58.33"]
    assert table(text, "btmri, Tiny, base2new, K=16")["CoOp"] == ["80.00", "60.00", "68.57"]


def test_a_damaged_result_is_named_and_missing(tmp_path):
    folder = few_shot(tmp_path, "busi", "CoOp", 1, 1, 70.0)
    (folder / "results.json").write_text("{")
    text = summary([Axes("few_shot", ["busi"], "Tiny", ["CoOp"], [1], [1])], tmp_path)
    assert "damaged: few_shot/busi/Tiny/CoOp/1shots/seed1: results.json cannot be used" in text
    assert table(text, "busi, Tiny")["CoOp"] == ["–"]


@pytest.mark.parametrize("protocol", ["few_shot", "base2new"])
def test_the_example_report_has_the_same_tables(tmp_path, protocol):
    """Its 298 runs, written again from runs.csv, give the numbers of its report.md to the last digit."""
    with open(EXAMPLE / "runs.csv", newline="") as file:
        runs = [row for row in csv.DictReader(file) if row["protocol"] == protocol]
    for row in runs:
        about = (tmp_path, row["dataset"], row["method"])
        if protocol == "few_shot":
            few_shot(*about, int(row["shots"]), int(row["seed"]), float(row["all_accuracy"]))
        else:
            parts = (float(row[f"{part}_accuracy"]) for part in ("base", "new"))
            base2new(*about, int(row["seed"]), *parts, shots=int(row["shots"]))
    methods = sorted({row["method"] for row in runs})
    shots = sorted({int(row["shots"]) for row in runs} - {0})
    text = summary([Axes(protocol, ["phantom"], "Tiny", methods, shots, [1, 2, 3])], tmp_path)
    made = table(text, f"phantom, Tiny, {protocol}")
    section = "Few-shot" if protocol == "few_shot" else "Base-to-new"
    report = (EXAMPLE / "report.md").read_text()
    report = report[report.index(f"## {section}, Tiny, clean") :]
    shown = table(re.sub(r"\*\*|\\", "", report), "### Accuracy in %, phantom")
    assert shown.keys() == made.keys()
    assert shown == made
