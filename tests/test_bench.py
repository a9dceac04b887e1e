"""The benchmark runs to its end on a small model, and its arithmetic is what it says."""

import csv
import re

import pytest

import bench.__main__
import bench.predict
import bench.sweep
import sweep.__main__
from bench.__main__ import _rows, main
from tests.registered import METHODS
from tools.random_model import small_model


def test_arithmetic_of_the_projected_column():
    times = {
        "teacher reference": 100.0, "teacher cold": 10.0, "teacher warm": 0.1,
        "step reference": 5.0, "view": 0.25, "step on features": 0.4, "step of three": 0.2,
        "text reference": 3.0, "text default": 0.3, "test image reference": 0.3, "test warm": 0.2, "view bf16": 0.05,
    }  # fmt: skip
    rows = {(part, way): (value, ratio) for part, way, value, ratio in _rows(times, 0.1, bf16=True)}
    column = "few-shot column, 5 shots x 3 seeds, projected"
    # 1 + 2 + 4 + 8 + 16 steps per epoch, 100 epochs, 3 seeds; 15 runs; 1,000 test images
    reference = 9300 * 5.0 + 15 * (100 + 300)
    default = 10 + 250 + 15 * 0.3 + 0.9 * 37200 * 0.25 + 9300 * 0.2
    assert rows[column, "reference"] == pytest.approx((reference, 1.0))
    assert rows[column, "default"] == pytest.approx((default, reference / default))
    bf16 = 10 + 15 * 0.3 + (0.9 * 37200 + 1000) * 0.05 + 9300 * 0.2
    assert rows[column, "bf16 image features"][0] == pytest.approx(bf16)
    assert rows["training step, batch 4", "views and step, three seeds in a stack"][0] == pytest.approx(1.2)
    assert rows["epoch at 16 shots", "default"] == pytest.approx((16 * 1.2, 5 / 1.2))


@pytest.fixture
def in_this_process(monkeypatch):
    """What the benchmarks do in processes of their own is done here, where all libraries are loaded."""

    def sweep_here(command, **_):
        assert sweep.__main__.main(command[3:]) == 0

    for module in (bench.__main__, bench.predict):
        monkeypatch.setattr(module, "_in_own_process", lambda work, *words: work(*words))
    monkeypatch.setattr(bench.sweep.subprocess, "run", sweep_here)


def test_the_benchmark_measures_and_writes(phantom_root, tmp_path, capsys, in_this_process):
    path = small_model(tmp_path / "model", "test_vit")
    words = ["--path", str(path), "--root", str(phantom_root), "--repeats", "1", "--output", str(tmp_path / "results")]
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert "peak memory, default" in printed
    assert "% of a large matrix product's" in printed
    (file,) = (tmp_path / "results").glob("*.csv")
    rows = list(csv.DictReader(file.open()))
    assert {row["way"] for row in rows if row["part"] == "testing 1,000 images"} == {"reference", "cold", "warm"}
    assert all(float(row["seconds"]) > 0 for row in rows)
    assert file.name in printed


def test_sweeps_of_finished_runs_are_timed(monkeypatch, capsys, in_this_process):
    for name, value in (("DATASETS", 1), ("SEEDS", 2), ("COLUMNS", [("few_shot", (1, 4))])):
        monkeypatch.setattr(bench.sweep, name, value)
    assert bench.sweep.main(["--backbones", "1", "--seeds", "1", "--repeats", "1"]) == 0
    _, _, table = capsys.readouterr().out.partition("python -m sweep …")
    rows = [re.split(r"  +", line) for line in table.splitlines()[2:]]
    assert [row[1] for row in rows] == ["76", "76", "76", "957"]  # 19 x 1 x 2 x 2; (17 x 5 + 2) x 11
    assert all(float(row[2]) > 0 for row in rows)


def test_predictions_are_timed_against_the_plain_loop(tmp_path, capsys, in_this_process):
    path = small_model(tmp_path / "model", "test_vit")
    assert bench.predict.main(["--path", str(path), "--images", "3", "--repeats", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    ways = [line.split("|")[1].strip() for line in lines if line.count("|") == 4]
    assert ways[2:] == ["encoding", "plain", "predict"]
    sizes = {
        cells[1].strip(): float(cells[2].replace(",", ""))
        for cells in (x.split("|") for x in lines)
        if len(cells) == 4 and cells[1].strip() in METHODS
    }
    assert [*sizes] == sorted(METHODS)
    assert sizes["TipAdapter"] - sizes["ZeroShot"] > 64 * 32 * 4 / 1e3  # the features of 64 images


def test_bad_input_is_an_error_of_one_line(tmp_path, capsys, in_this_process):
    assert main(["--path", str(tmp_path / "none"), "--repeats", "1"]) == 2
    assert "does not exist" in capsys.readouterr().err
