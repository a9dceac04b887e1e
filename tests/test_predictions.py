"""predictions.csv of a run and of --eval-only: the numbers of the metrics, image by image."""

import csv
import json

import numpy as np
import pytest
import torch

from dassl.evaluation import Predictions
from dassl.evaluation.metrics import brier_score
from datasets.phantom import Phantom
from runs.predictions import COLUMNS, write_predictions
from runs.results import read_results

FAST = ["OPTIM.MAX_EPOCH", "1", "DATALOADER.NUM_WORKERS", "0"]


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


@pytest.fixture(scope="module")
def run(few_images, tmp_path_factory):
    """A base-to-new run, and what a test of it wrote to another folder."""
    from train import main

    out = tmp_path_factory.mktemp("predictions")
    words = ["--trainer", "CoOp", "--root", few_images, "--protocol", "base2new", "--shots", 1, *FAST]
    words = [*map(str, words)]
    assert main([*words, "--output-dir", str(out / "run")]) == 0
    test = [*words, "--eval-only", "--model-dir", str(out / "run"), "--output-dir"]
    assert main([*test, str(out / "test")]) == 0
    return out, test


def test_the_file_agrees_with_the_metrics(run):
    header, *rows = rows_of(run[0] / "run" / "predictions.csv")
    names = list(Phantom.classes)
    assert header == [*COLUMNS, *(f"probability of {name}" for name in names)]
    metrics = read_results(run[0] / "run")["metrics"]
    assert [row[1] for row in rows] == ["base"] * 12 + ["new"] * 12
    for part, classes, empty in (("base", names[:4], [*range(8, 12)]), ("new", names[4:], [*range(4, 8)])):
        of_part = [row for row in rows if row[1] == part]
        assert {row[2] for row in of_part} == set(classes)
        assert sum(row[2] == row[3] for row in of_part) == metrics[part]["correct"]
        assert all(row[k] == "" for row in of_part for k in empty)
        probabilities = np.array([[float(cell) for cell in row[4:] if cell] for row in of_part])
        assert [classes[k] for k in probabilities.argmax(1)] == [row[3] for row in of_part]
        assert probabilities.sum(1) == pytest.approx(1, abs=1e-7)
        labels = np.array([classes.index(row[2]) for row in of_part])
        assert brier_score(probabilities, labels) == pytest.approx(metrics[part]["brier"], abs=2e-6)
        counts = np.zeros((4, 4), int)
        np.add.at(counts, (labels, probabilities.argmax(1)), 1)
        assert metrics[part]["confusion_matrix"] == counts.tolist()
    assert rows[0][0].startswith(f"{names[0].replace(' ', '_')}/")  # as in the split, not where the data lie


def test_memory_is_stated(run):
    memory = read_results(run[0] / "run")["memory"]
    assert memory["of"] == "process"
    assert memory["peak_bytes"] > 10**7


def test_a_test_of_a_model_writes_what_the_run_wrote(run):
    out, _ = run
    assert sorted(path.name for path in (out / "test").iterdir()) == ["metrics.json", "predictions.csv"]
    assert (out / "test" / "predictions.csv").read_text() == (out / "run" / "predictions.csv").read_text()
    found = json.loads((out / "test" / "metrics.json").read_text())
    assert found["metrics"] == read_results(out / "run")["metrics"]
    assert (found["method"], found["protocol"], found["model"]) == ("CoOp", "base2new", str(out / "run"))


def test_a_test_replaces_nothing_unasked(run, capsys):
    from train import main

    out, test = run
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    refused = {
        "run": "holds a run; name another folder",
        "test": "holds metrics.json and predictions.csv; --overwrite replaces them",
        "run/log.txt": "cannot be written",
    }
    for folder, said in refused.items():
        assert main([*test, str(out / folder)]) == 2
        assert said in capsys.readouterr().err
    assert main([*test, str(out / "run"), "--overwrite"]) == 2
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert main([*test, str(out / "test"), "--overwrite"]) == 0
    assert (out / "test" / "predictions.csv").read_bytes() == before[out / "test" / "predictions.csv"]


def test_names_are_no_formulas_and_stay_on_one_line(tmp_path):
    class Data:
        image_dir = tmp_path / "images"

    paths = [str(Data.image_dir / "=1+1.png"), "/elsewhere/a\nb.png"]
    tested = Predictions(paths, ["@SUM(A1)", "-2"], torch.tensor([[0.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 1]))
    write_predictions(tmp_path / "predictions.csv", {"all": tested}, Data)
    header, first, second = rows_of(tmp_path / "predictions.csv")
    assert header[4:] == ["probability of @SUM(A1)", "probability of -2"]
    assert first == ["'=1+1.png", "all", "'@SUM(A1)", "'@SUM(A1)", "0.5", "0.5"]
    assert second[:4] == [r"/elsewhere/a\nb.png", "all", "-2", "-2"]
    assert [float(cell) for cell in second[4:]] == pytest.approx([1 / (1 + np.e), np.e / (1 + np.e)])


def test_a_users_predictions_are_not_replaced_and_those_of_a_run_are_removed(few_images, tmp_path, capsys):
    from train import main

    words = ["--trainer", "ZeroShot", "--root", str(few_images), "--shots", "1", "--output-dir", str(tmp_path)]
    (tmp_path / "predictions.csv").write_text("the user's")
    assert main(words) == 2
    assert "holds predictions.csv, but no run" in capsys.readouterr().err
    assert (tmp_path / "predictions.csv").read_text() == "the user's"
    (tmp_path / "predictions.csv").unlink()
    assert main(words) == 0
    assert len(rows_of(tmp_path / "predictions.csv")) == 1 + 24
    assert main([*words, "--overwrite", "--no-train"]) == 0
    assert not (tmp_path / "predictions.csv").exists()
