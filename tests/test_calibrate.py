"""Calibrating a bundle on labelled images, and the reliability diagram: numbers, bundles, the command line."""

import csv
import errno
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from biomed_dpt.__main__ import main
from biomed_dpt.reliability import draw_reliability, reliability
from configs import Choice, build_cfg
from dassl.engine import build_trainer
from dassl.errors import InputError, OutputError
from datasets.digests import content_digests
from tests.test_calibration import FOUR, random_images
from trainers.bundle import Bundle, read_bundle, write_bundle
from trainers.calibration import conformal_threshold, fit_temperature
from trainers.predictor import Predictor


def test_reliability_by_hand():
    probabilities = torch.tensor([[0.95, 0.05], [0.9, 0.1], [0.85, 0.15], [0.45, 0.55], [0.42, 0.58]]).double()
    found = reliability(probabilities, torch.tensor([0, 1, 0, 1, 0]))
    assert found.counts.tolist() == [0, 0, 0, 0, 0, 2, 0, 0, 2, 1]
    np.testing.assert_allclose(found.confidence[[5, 8, 9]], [0.565, 0.875, 0.95])
    np.testing.assert_allclose(found.accuracy[[5, 8, 9]], [0.5, 0.5, 1])
    assert np.isnan(found.accuracy[0])
    assert found.ece == pytest.approx((2 * 0.065 + 2 * 0.375 + 0.05) / 5)
    with pytest.raises(InputError, match="there are none"):
        reliability(torch.empty(0, 2), torch.empty(0))


def test_the_calibration_error_agrees_with_torchmetrics():
    from torchmetrics.functional.classification import multiclass_calibration_error

    logits, labels = random_images(300, 4, seed=5)
    theirs = multiclass_calibration_error(logits.softmax(1), labels, num_classes=4, n_bins=10).item()
    assert reliability(logits.softmax(1), labels).ece == pytest.approx(theirs, abs=1e-6)


def test_a_diagram_of_unknown_format_is_refused(tmp_path):
    diagrams = {"one": reliability(FOUR, torch.tensor([0, 1, 2, 0]))}
    draw_reliability(diagrams, tmp_path / "one.SVG")
    assert (tmp_path / "one.SVG").read_text().startswith("<?xml")
    with pytest.raises(InputError, match=r"must end with one of \.png, \.pdf, \.svg"):
        draw_reliability(diagrams, tmp_path / "one.txt")


@pytest.fixture(scope="module")
def trainer(few_images, tmp_path_factory):
    opts = ["DATALOADER.NUM_WORKERS", "0", "OUTPUT_DIR", str(tmp_path_factory.mktemp("run"))]
    return build_trainer(build_cfg(Choice("ZeroShot", shots=1, root=str(few_images), opts=opts)))


@pytest.fixture
def bundle(trainer, tmp_path):
    dataset = trainer.dm.dataset
    digests = {
        "training_images": list(content_digests(item.impath for item in dataset.train_x).values()),
        "validation_images": list(content_digests(item.impath for item in dataset.val).values()),
    }
    return Path(write_bundle(tmp_path / "bundle", trainer.bundle(trainer.calibration(), digests), "card").where)


@pytest.fixture
def listed(few_images):
    """Writes a CSV file beside the images that lists some of them."""

    def _listed(items, name="labelled.csv", **labels):
        path = few_images / "Phantom" / "Phantom" / name
        with open(path, "w", newline="") as file:
            rows = [(Path(item.impath).relative_to(path.parent), item.classname) for item in items]
            csv.writer(file).writerows([("path", "label"), *rows])
        return str(path)

    return _listed


def test_calibrate_writes_prediction_sets_into_the_bundle(bundle, trainer, listed, capsys):
    before, items = read_bundle(bundle), trainer.dm.dataset.test
    assert main(["calibrate", str(bundle), listed(items), "--coverage", "0.8"]) == 0
    after = read_bundle(bundle)
    conformal = after.calibration["conformal"]
    logits, labels = trainer.logits_of(items, "images")
    probabilities = (logits.double() / before.temperature).softmax(1)
    assert conformal == {"kind": "lac", "coverage": 0.8, "threshold": conformal["threshold"], "images": 24}
    assert conformal["threshold"] == pytest.approx(conformal_threshold(probabilities, labels, 0.8, "lac"), abs=1e-6)
    assert {**after.calibration, "conformal": None} == {**before.calibration, "conformal": None}
    assert after.about["digest"] != before.about["digest"]
    assert all(torch.equal(value, before.tensors[name]) for name, value in after.tensors.items())
    assert "coverage 0.8" in capsys.readouterr().out
    assert main(["info", str(bundle)]) == 0
    assert "prediction sets lac, coverage 0.8, from 24 images" in capsys.readouterr().out
    assert Predictor(after).conformal == conformal
    assert Predictor(after, classnames=["a", "b"]).conformal is None


def test_temperature_and_sets_are_fitted_on_different_halves(bundle, trainer, listed, tmp_path, capsys):
    items, digests = trainer.dm.dataset.test, content_digests(item.impath for item in trainer.dm.dataset.test)
    words = ["calibrate", str(bundle), listed(items), "--temperature", "--kind", "aps", "--coverage", "0.8"]
    assert main([*words, "--out", str(tmp_path / "half")]) == 0
    about = read_bundle(tmp_path / "half").about
    seen = {*about["provenance"]["validation_images"]} - {*read_bundle(bundle).about["provenance"]["validation_images"]}
    used = [item for item in items if digests[item.impath] in seen]
    assert len(used) == 12 == about["calibration"]["images"] == about["calibration"]["conformal"]["images"]
    assert about["calibration"]["fitted_on"] == "labelled images"
    expected = fit_temperature(*trainer.logits_of(used, "images"))
    assert about["calibration"]["temperature"] == pytest.approx(expected, rel=1e-4)
    capsys.readouterr()
    assert main(["calibrate", str(tmp_path / "half"), listed(items), "--coverage", "0.8"]) == 2
    assert "12 of 24 images are images on which settings or the temperature" in capsys.readouterr().err
    assert main(["calibrate", str(tmp_path / "half"), listed(items), "--temperature", "--no-sets"]) == 0
    calibration = read_bundle(tmp_path / "half").calibration
    assert calibration["images"] == 24
    assert "conformal" not in calibration


def test_what_cannot_calibrate_is_refused_and_changes_nothing(bundle, trainer, listed, tmp_path, capsys):
    dataset, content = trainer.dm.dataset, (bundle / "bundle.json").read_bytes()
    test = dataset.test
    refused = [
        (test[:8], [], "need 9 calibration images, and there are 8"),
        (test[:16], ["--temperature"], "need 9 calibration images, and there are 8"),
        ([*test, dataset.train_x[0]], [], "1 of 25 images are training images of the bundle: "),
        ([*test, dataset.val[0]], [], "1 of 25 images are images on which settings"),
        (test, ["--coverage", "1.5"], "between 0 and 1"),
        (test, ["--no-sets"], "add --temperature"),
        (test, ["--out", str(tmp_path)], "name a new folder"),
    ]
    for items, words, message in refused:
        assert main(["calibrate", str(bundle), listed(items), *words]) == 2
        assert message in capsys.readouterr().err
    path = Path(listed(test))
    path.write_text(path.read_text().replace("cyst in fatty", "cist in fatty"))
    assert main(["calibrate", str(bundle), str(path)]) == 2
    assert "line 2: unknown class 'cist in fatty tissue'" in capsys.readouterr().err
    assert main(["calibrate", str(bundle), str(tmp_path / "none.csv")]) == 2
    for k in range(9):
        (tmp_path / f"{k}.png").write_text(f"no image {k}")
    (tmp_path / "bad.csv").write_text("path,label\n" + "".join(f"{k}.png,{test[0].classname}\n" for k in range(9)))
    assert main(["calibrate", str(bundle), str(tmp_path / "bad.csv")]) == 2
    assert "0.png' cannot be read" in capsys.readouterr().err
    assert (bundle / "bundle.json").read_bytes() == content


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ({"kind": "raps"}, "unknown kind of prediction sets"),
        ({"coverage": 1.0}, "between 0 and 1"),
        ({"coverage": "0.9"}, "the coverage is '0.9'"),
        ({"threshold": math.nan}, "the threshold is nan"),
        ({"threshold": 2}, "the threshold is 2"),
        ({"images": 8}, "8, and 9 are needed"),
        ({"images": 20.5}, "images: 20.5"),
        (7, "7 is no dict"),
    ],
)
def test_damaged_prediction_sets_are_refused(damage, message, bundle):
    good, conformal = read_bundle(bundle), {"kind": "lac", "coverage": 0.9, "threshold": 0.8, "images": 20}
    damaged = {**conformal, **damage} if isinstance(damage, dict) else damage
    for entry, refused in ((conformal, False), (damaged, True)):
        about = {**good.about, "calibration": {**good.calibration, "conformal": entry}}
        write_bundle(bundle, Bundle(about, good.tensors), "card")
        if refused:
            with pytest.raises(InputError, match=message):
                read_bundle(bundle)
        else:
            assert read_bundle(bundle).calibration["conformal"] == entry


def test_a_bundle_that_cannot_be_rewritten_stays(bundle, monkeypatch):
    good = read_bundle(bundle)

    def full(tensors, path):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(OutputError, match="No space left"):
        write_bundle(bundle, good, "another card")
    assert read_bundle(bundle).about == good.about
    assert sorted(path.name for path in bundle.iterdir()) == ["README.md", "bundle.json", "model.safetensors"]


def test_reliability_of_a_bundle(bundle, trainer, listed, tmp_path, capsys):
    words = ["reliability", str(bundle), listed([*trainer.dm.dataset.test, trainer.dm.dataset.val[0]])]
    assert main([*words, "--out", str(tmp_path / "diagram.png")]) == 0
    printed = capsys.readouterr().out
    assert "chosen on 1 of these 25 images" in printed
    assert printed.count("ECE") == 2
    with Image.open(tmp_path / "diagram.png") as picture:
        assert picture.width > 2 * 400
    assert main([*words, "--out", str(tmp_path / "diagram.txt")]) == 2
    assert main(["reliability", str(bundle), listed(trainer.dm.dataset.train_x), "--out", "x.png"]) == 2
    assert "training images of the bundle" in capsys.readouterr().err


def test_the_example_of_the_page(bundle, trainer, listed):
    page = (Path(__file__).parent.parent / "docs" / "CALIBRATION.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    words = {}
    exec(code.replace("thyroid-model", str(bundle)).replace("labelled.csv", listed(trainer.dm.dataset.test)), words)
    assert words["inside"].shape == (24, 8)
    assert 0.9 <= words["inside"][range(24), words["labels"]].double().mean() < 1


def test_a_run_says_how_it_was_calibrated(command, few_images, tmp_path):
    assert command("--trainer", "ZeroShot", "--shots", "2", root=few_images)[0] == 0
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    calibration = read_bundle(tmp_path / "run").calibration
    assert results["calibration"] == calibration
    assert (calibration["fitted_on"], calibration["images"]) == ("validation shots", 16)
