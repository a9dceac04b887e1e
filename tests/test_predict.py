"""predict.py: a run's bundle predicts image files as the run's test did; every kind of output and of bad input."""

import csv
import io
import json
import os
import shutil
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import biomed_dpt.prediction
import predict
import runs.execute
import train
from biomed_dpt.prediction import predictions
from biomed_dpt.writing import RowWriter
from trainers.bundle import Bundle, read_bundle, write_bundle
from trainers.predictor import Predictor


@pytest.fixture(scope="module")
def tuned(few_images, tmp_path_factory):
    """A bundle, moved from its run, copies of the run's test images, and the run's logits; its data are deleted."""
    place = tmp_path_factory.mktemp("predict")
    root, run = place / "root", place / "run"
    shutil.copytree(few_images, root)
    build, built = runs.execute.build, []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs.execute, "build", lambda job: built.append(build(job)) or built[0])
        words = ["--trainer", "CoOp", "--shots", "1", "--root", str(root), "--output-dir", str(run)]
        assert train.main([*words, "OPTIM.MAX_EPOCH", "2", "DATALOADER.NUM_WORKERS", "0"]) == 0
    (trainer,) = built
    items = trainer.dm.dataset.test
    with torch.no_grad():
        logits, _ = trainer._logits(items, "test images")
    scans = place / "scans"
    scans.mkdir()
    for k, item in enumerate(items):
        shutil.copy(item.impath, scans / f"{k:03d}.png")
    (run / "bundle").rename(place / "bundle")
    shutil.rmtree(run)
    shutil.rmtree(root)
    names, backbone = trainer.method.classnames, trainer.backbone
    return types.SimpleNamespace(
        bundle=str(place / "bundle"), scans=scans, logits=logits, classnames=names, backbone=backbone
    )


@pytest.fixture(scope="module")
def predictor(tuned):
    return Predictor(read_bundle(tuned.bundle), tuned.backbone)


@pytest.fixture
def run(tuned, tmp_path, monkeypatch, capsys):
    """Runs predict.py on the bundle, with one loaded backbone; returns exit code and what was printed."""
    monkeypatch.setattr("trainers.predictor.build_backbone", lambda *_: tuned.backbone)
    monkeypatch.chdir(tmp_path)

    def _run(*words, bundle=tuned.bundle):
        code = predict.main([bundle, *map(str, words)])
        return code, capsys.readouterr()

    return _run


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_a_moved_bundle_predicts_as_the_test_did(tuned, run, tmp_path):
    code, printed = run(tuned.scans, "--out", "p.csv", "--workers", 2)
    assert code == 0
    rows = rows_of((tmp_path / "p.csv").read_text())
    names, temperature = tuned.classnames, read_bundle(tuned.bundle).temperature
    expected = torch.softmax(tuned.logits.double() / temperature, dim=1)
    found = torch.tensor([[float(row[f"probability of {name}"]) for name in names] for row in rows])
    assert [Path(row["file"]).name for row in rows] == [f"{k:03d}.png" for k in range(len(tuned.logits))]
    assert torch.allclose(found.double(), expected, atol=1e-5)
    assert [row["predicted"] for row in rows] == [names[k] for k in tuned.logits.argmax(1)]
    entropies = -(expected * expected.log()).sum(1)
    assert [float(row["entropy"]) for row in rows] == pytest.approx(entropies.tolist(), abs=1e-4)
    assert f"predicted {len(rows)} images" in printed.out
    assert "probabilities are calibrated on validation shots (8 images)" in printed.out
    assert not list(tmp_path.glob(".*"))


def test_with_the_same_batches_the_logits_are_the_same_to_the_last_bit(tuned, predictor):
    paths = sorted(map(str, tuned.scans.iterdir()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(predictor, "probabilities", lambda logits: logits)
        found = [one.probabilities for one in predictions(predictor, paths, threads=3)]
    features = torch.cat([predictor.features(predictor.pixels([predictor.reader(path)])) for path in paths])
    assert np.abs(np.stack(found) - tuned.logits.numpy()).max() <= 1e-5
    assert np.abs(np.stack(found) - predictor.logits(features).numpy()).max() <= 1e-5
    in_batches = [
        predictor.logits(predictor.features(predictor.pixels([*map(predictor.reader, paths[k : k + 8])])))
        for k in range(0, len(paths), 8)
    ]
    assert np.array_equal(np.stack(found), torch.cat(in_batches).numpy())


def test_unreadable_files_are_rows_and_the_rest_goes_on(tuned, run, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no image")
    Image.new("L", (1, 40_000)).save(tmp_path / "strip.png")
    Image.fromarray(np.arange(4096, dtype=np.uint16).reshape(64, 64) * 16).save(tmp_path / "deep.png")
    good = sorted(tuned.scans.iterdir())[:3]
    with open("list.csv", "w") as file:
        file.write("\n".join(["image", "bad.png", *map(str, good), "gone.png", "deep.png", "strip.png"]))
    code, printed = run("list.csv", "--out", "p.jsonl", "--batch-size", 2)
    assert code == 1
    rows = [json.loads(line) for line in (tmp_path / "p.jsonl").read_text().splitlines()]
    assert [set(rows[k]) for k in (0, 4, 6)] == [{"file", "error"}] * 3
    assert "cannot be read" in rows[0]["error"]
    assert "too long a strip" in rows[6]["error"]
    names = tuned.classnames
    assert [rows[k]["predicted"] for k in (1, 2, 3)] == [names[label] for label in tuned.logits[:3].argmax(1)]
    assert sum(rows[5]["probabilities"].values()) == pytest.approx(1)
    assert "3 files could not be read" in printed.out
    assert "of 4 images, these are not plain 8 bit: 16 bit, rescaled (1)" in printed.out


def test_the_most_probable_classes_on_standard_output(tuned, run):
    code, printed = run(sorted(tuned.scans.iterdir())[0], "--top", 2)
    (row,) = rows_of(printed.out)
    assert code == 0
    assert list(row) == ["file", "error", "predicted", "class1", "probability1", "class2", "probability2", "entropy"]
    names, ranks = tuned.classnames, tuned.logits[0].argsort(descending=True)
    assert [row["class1"], row["class2"]] == [names[ranks[0]], names[ranks[1]]]
    assert float(row["probability1"]) >= float(row["probability2"])
    assert "predicted 1 images" in printed.err


def test_other_classes(tuned, run):
    path = sorted(tuned.scans.iterdir())[0]
    code, printed = run(path, "--classes", "round mass", "=1+1")
    (row,) = rows_of(printed.out)
    assert code == 0
    assert [name for name in row if name.startswith("probability")] == [
        "probability of round mass",
        "probability of =1+1",
    ]
    assert "not calibrated: the classes are not those of the bundle" in printed.err


def test_maps_have_names_of_their_own_inside_the_folder(tuned, run, tmp_path, monkeypatch):
    class Map:
        def __init__(self, picture):
            self.picture = picture

        def save(self, path):
            assert path.parent == Path("maps")
            self.picture.save(path)

    stand_in = types.ModuleType("biomed_dpt.explain")
    stand_in.explain = lambda predictor, picture: Map(picture)
    monkeypatch.setitem(sys.modules, "biomed_dpt.explain", stand_in)
    monkeypatch.setattr("biomed_dpt.explain", stand_in, raising=False)
    names = ["a/x.png", "b/x.png", "b/..x.png", "b/\n=.png", "b/" + "y" * 200 + ".png"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(sorted(tuned.scans.iterdir())[0], tmp_path / name)
    (tmp_path / "b" / "bad.png").write_bytes(b"")
    code, _ = run(*names, "b/bad.png", "--out", "p.csv", "--explain", "maps")
    rows = rows_of((tmp_path / "p.csv").read_text())
    assert code == 1
    assert [row["map"] for row in rows[:2]] == ["maps/00001-x.png", "maps/00002-x.png"]
    assert len({row["map"] for row in rows[:5]}) == 5
    assert rows[5]["map"] == ""
    assert sorted(f"maps/{path.name}" for path in (tmp_path / "maps").iterdir()) == sorted(
        row["map"] for row in rows[:5]
    )
    assert run("a/x.png", "--explain", "p.csv")[0] == 2


def test_prediction_sets_need_a_calibrated_bundle(tuned, run, tmp_path, monkeypatch):
    path = sorted(tuned.scans.iterdir())[0]
    code, printed = run(path, "--sets")
    assert code == 2
    assert "python -m biomed_dpt calibrate BUNDLE LABELLED.csv" in printed.err
    bundle = read_bundle(tuned.bundle)
    conformal = {"kind": "lac", "coverage": 0.9, "threshold": 0.9, "images": 40}
    about = {**bundle.about, "calibration": {**bundle.calibration, "temperature": 1e5, "conformal": conformal}}
    write_bundle(tmp_path / "calibrated", Bundle(about, bundle.tensors), "card")
    asked = []

    def sets(probabilities, threshold, kind):
        asked.append((tuple(probabilities.shape), threshold, kind))
        return 1 - probabilities <= threshold

    monkeypatch.setattr("trainers.calibration.prediction_sets", sets, raising=False)
    code, printed = run(path, "--sets", bundle=str(tmp_path / "calibrated"))
    (row,) = rows_of(printed.out)
    assert asked == [((1, 8), 0.9, "lac")]
    assert row["set"].split("; ") == bundle.classnames  # at this temperature every class has a probability of 1 / 8
    assert "--classes" in run(path, "--sets", "--classes", "a", "b", bundle=str(tmp_path / "calibrated"))[1].err


def test_an_interrupt_keeps_what_was_predicted(tuned, run, tmp_path, monkeypatch):
    predicted, calls = biomed_dpt.prediction._predicted, []

    def interrupted(*words):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return predicted(*words)

    monkeypatch.setattr(biomed_dpt.prediction, "_predicted", interrupted)
    (tmp_path / "p.csv").write_text("before")
    code, printed = run(tuned.scans, "--out", "p.csv", "--batch-size", 4)
    assert code == 130
    assert "'p.csv.partial'" in printed.err
    assert (tmp_path / "p.csv").read_text() == "before"
    assert len(rows_of((tmp_path / "p.csv.partial").read_text())) == 8
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["gone.png"], "the input 'gone.png' does not exist"),
        (["a.png", "--out", "p.txt"], "neither .csv nor .jsonl"),
        (["a.png", "--out", "folder.csv"], "is no file"),
        (["a.png", "--out", "/proc/p.csv"], "cannot be written"),
        (["list.csv", "--out", "list.csv"], "is one of the inputs"),
        (["a.png", "--precision", "fp8"], "unknown precision (--precision) 'fp8'"),
        (["a.png", "--classes", "x", "x"], "x"),
    ],
)
def test_bad_input_is_refused_before_the_backbone_is_loaded(run, tmp_path, monkeypatch, words, message):
    Image.new("L", (9, 9)).save(tmp_path / "a.png")
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "list.csv").write_text("path\na.png\n")
    before = sorted(path.name for path in tmp_path.iterdir())
    monkeypatch.setattr("trainers.predictor.build_backbone", None)
    code, printed = run(*words)
    assert code == 2
    assert message in printed.err
    assert "Traceback" not in printed.err
    assert sorted(path.name for path in tmp_path.iterdir()) == before


@pytest.mark.parametrize("out", ["p.csv", ""])
def test_a_full_disk_is_an_error_that_leaves_nothing(run, tuned, tmp_path, monkeypatch, out):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(RowWriter, "write", full)
    if not out:
        monkeypatch.setattr(os, "dup2", lambda *_: None)
        monkeypatch.setattr("sys.stdout.fileno", lambda: 1, raising=False)
    code, printed = run(tuned.scans, *(["--out", out] if out else []))
    assert code == 2
    assert "cannot be written (No space left on device)" in printed.err
    assert not list(tmp_path.iterdir())
