"""The tables at the end of a sweep."""

import pytest

from runs.folder import MARKER
from sweep.plan import run_for
from sweep.table import base2new_table, cell, few_shot_table, interval
from tests.test_sweep import complete


def test_interval_by_hand():
    # mean 72, standard deviation 2, t(0.975, 2) = 4.302653: 4.302653 · 2 / √3
    assert interval([70, 72, 74]) == pytest.approx(4.96828, abs=1e-4)
    assert interval([70]) == 0
    assert cell([70, 72, 74]) == "72.00 ± 4.97"
    assert cell([70]) == "70.00"
    assert cell([70, None, 74]) == cell([]) == "–"


def test_tables_show_what_is_missing_as_missing(tmp_path):
    for seed, accuracy in ((1, 70.0), (2, 72.0), (3, 74.0)):
        complete(tmp_path, run_for("few_shot", "busi", "Tiny", "CoOp", 1, seed), {"all": {"accuracy": accuracy}})
        parts = {"base": {"accuracy": accuracy}, "new": {"accuracy": 50.0}, "H": 60.0}
        complete(tmp_path, run_for("base2new", "busi", "Tiny", "CoOp", 16, seed), parts)
    half = run_for("few_shot", "busi", "Tiny", "CoOp", 4, 1)
    complete(tmp_path, half, {"all": {"accuracy": 99.0}})
    (half.folder(tmp_path) / MARKER).unlink()
    complete(tmp_path, run_for("few_shot", "busi", "Tiny", "ZeroShot", 4, 2), {"all": {"accuracy": 40.0}})
    lines = few_shot_table(tmp_path, "busi", "Tiny", ["ZeroShot", "CoOp"], [1, 4], [1, 2, 3]).splitlines()
    assert [part.strip() for part in lines[2].split("|")[1:-1]] == ["ZeroShot", "40.00", "40.00"]
    assert [part.strip() for part in lines[3].split("|")[1:-1]] == ["CoOp", "72.00 ± 4.97", "–"]
    lines = base2new_table(tmp_path, "busi", "Tiny", ["CoOp"], 16, [1, 2, 3]).splitlines()
    assert [part.strip() for part in lines[2].split("|")[1:-1]] == [
        "CoOp", "72.00 ± 4.97", "50.00 ± 0.00", "60.00 ± 0.00",
    ]  # fmt: skip
