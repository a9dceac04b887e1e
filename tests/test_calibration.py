"""Temperature, prediction sets and reliability: by hand, against libraries, in bundles and on the command line."""

import csv
import errno
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import sklearn
import torch
from packaging.version import Version
from PIL import Image

from biomed_dpt.__main__ import main
from biomed_dpt.reliability import draw_reliability, reliability
from configs import Choice, build_cfg
from dassl.engine import build_trainer
from dassl.errors import InputError, OutputError
from datasets.digests import content_digests
from trainers.bundle import Bundle, read_bundle, write_bundle
from trainers.calibration import conformal_threshold, fit_temperature, images_needed, prediction_sets
from trainers.predictor import Predictor


def two_classes(right, wrong, margin):
    """Logits and labels of images whose logits differ by a margin."""
    count = right + wrong
    return torch.tensor([[margin, 0.0]] * count), torch.tensor([0] * right + [1] * wrong)


def random_images(count, classes, seed):
    """Probabilities, and labels that are drawn from sharper ones."""
    rng = np.random.default_rng(seed)
    logits = 2 * rng.normal(size=(count, classes))
    sharp = np.exp(1.5 * logits) / np.exp(1.5 * logits).sum(1, keepdims=True)
    labels = (sharp.cumsum(1) > rng.uniform(size=(count, 1))).argmax(1)
    return torch.tensor(logits), torch.tensor(labels)


@pytest.mark.parametrize(("right", "wrong", "q"), [(6, 2, (6 * 9 + 2) / 80), (8, 0, 9 / 10), (2, 0, 3 / 4)])
def test_temperature_of_two_classes_has_a_closed_form(right, wrong, q):
    """The mean target of class 0 is q, so that the best T gives it this probability: 1 / (1 + exp(-3 / T)) = q."""
    assert fit_temperature(*two_classes(right, wrong, 3.0)) == pytest.approx(3 / math.log(q / (1 - q)), rel=1e-6)


def test_temperature_scales_with_the_logits():
    logits, labels = random_images(50, 4, seed=0)
    expected = fit_temperature(logits, labels)
    assert [fit_temperature(scale * logits, labels) / scale for scale in (1e-5, 1e3)] == pytest.approx([expected] * 2)


def test_temperature_at_its_limits():
    assert fit_temperature(*two_classes(0, 5, 3.0)) == pytest.approx(30, rel=1e-6)
    assert fit_temperature(torch.ones(5, 3), torch.zeros(5, dtype=torch.long)) == 1
    assert fit_temperature(torch.randn(5, 1), torch.zeros(5, dtype=torch.long)) == 1
    with pytest.raises(InputError, match="there are none"):
        fit_temperature(torch.empty(0, 3), torch.empty(0, dtype=torch.long))
    with pytest.raises(InputError, match="not finite"):
        fit_temperature(torch.tensor([[math.nan, 0.0]]), torch.tensor([0]))


@pytest.mark.filterwarnings("ignore:Since FrozenEstimator does not appear to accept sample_weight")
@pytest.mark.skipif(Version(sklearn.__version__) < Version("1.8"), reason="needs scikit-learn 1.8: temperature scaling")
def test_temperature_agrees_with_scikit_learn():
    """Each image is given once for each class, weighted by its target."""
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.frozen import FrozenEstimator

    class Logits(ClassifierMixin, BaseEstimator):
        classes_ = np.arange(3)

        def fit(self, x, y):
            self.fitted_ = True
            return self

        def decision_function(self, x):
            return x

        def predict(self, x):
            return x.argmax(1)

    logits, labels = random_images(40, 3, seed=1)
    targets = torch.full((40, 3), 1 / (42 * 2), dtype=torch.float64).scatter_(1, labels[:, None], 41 / 42)
    x, y = logits.repeat_interleave(3, 0).numpy(), np.tile(np.arange(3), 40)
    theirs = CalibratedClassifierCV(FrozenEstimator(Logits().fit(x, y)), method="temperature")
    theirs.fit(x, y, sample_weight=targets.flatten().numpy())
    ours = (logits / fit_temperature(logits, labels)).softmax(1).numpy()
    np.testing.assert_allclose(ours, theirs.predict_proba(logits.numpy()), atol=1e-6)


def test_images_that_are_needed():
    assert [images_needed(c) for c in (0.5, 0.8, 0.9, 0.95, 0.99)] == [1, 4, 9, 19, 99]
    for coverage in (0, 1, 1.5, math.nan):
        with pytest.raises(InputError, match="between 0 and 1"):
            images_needed(coverage)
    with pytest.raises(InputError, match=r"0\.9 need 9 calibration images, and there are 8"):
        conformal_threshold(torch.full((8, 2), 0.5), torch.zeros(8, dtype=torch.long), 0.9, "lac")
    with pytest.raises(InputError, match="unknown kind of prediction sets 'raps'"):
        conformal_threshold(torch.full((9, 2), 0.5), torch.zeros(9, dtype=torch.long), 0.9, "raps")


FOUR = torch.tensor([[0.7, 0.2, 0.1], [0.3, 0.6, 0.1], [0.5, 0.1, 0.4], [0.2, 0.3, 0.5]], dtype=torch.float64)


@pytest.mark.parametrize(("coverage", "expected"), [(0.2, 0.3), (0.5, 0.6), (0.6, 0.6), (0.8, 0.8)])
def test_lac_by_hand(coverage, expected):
    """The scores 1 - p are 0.3, 0.4, 0.6 and 0.8; the threshold is the one at ⌈5 · coverage⌉."""
    threshold = conformal_threshold(FOUR, torch.tensor([0, 1, 2, 0]), coverage, "lac")
    assert threshold == pytest.approx(expected)


def test_lac_sets_by_hand():
    assert prediction_sets(FOUR, 0.55, "lac").tolist() == [
        [True, False, False],
        [False, True, False],
        [True, False, False],
        [False, False, True],
    ]
    assert not prediction_sets(FOUR, 0.25, "lac").any()


def test_aps_by_hand():
    """Scores: the sum above the label's probability, plus 1 - u of it; u is 0.5488, 0.7152, 0.6028, 0.5449."""
    u = [0.5488, 0.7152, 0.6028, 0.5449]
    scores = sorted([(1 - u[0]) * 0.7, (1 - u[1]) * 0.6, 0.5 + (1 - u[2]) * 0.4, 0.8 + (1 - u[3]) * 0.2])
    found = [conformal_threshold(FOUR, torch.tensor([0, 1, 2, 0]), c, "aps") for c in (0.2, 0.4, 0.6, 0.8)]
    assert found == pytest.approx(scores, abs=1e-4)
    assert prediction_sets(FOUR, 0.65, "aps").tolist() == [
        [True, False, False],
        [True, True, False],
        [True, False, True],
        [False, True, True],
    ]
    assert prediction_sets(FOUR, 0.0, "aps").sum(1).tolist() == [1] * 4


@pytest.mark.parametrize("kind", ["lac", "aps"])
@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.9])
def test_prediction_sets_agree_with_mapie(kind, coverage):
    classification = pytest.importorskip("mapie.classification", reason="needs MAPIE, of requirements-dev.txt")
    from sklearn.base import BaseEstimator, ClassifierMixin

    class Given(ClassifierMixin, BaseEstimator):
        def fit(self, x, y):
            self.classes_, self.n_features_in_ = np.arange(x.shape[1]), x.shape[1]
            return self

        def predict_proba(self, x):
            return x

        def predict(self, x):
            return x.argmax(1)

    (logits, labels), (others, _) = random_images(57, 5, seed=2), random_images(200, 5, seed=3)
    probabilities, asked = logits.softmax(1), others.softmax(1)
    given = Given().fit(probabilities.numpy(), labels.numpy())
    theirs = classification.SplitConformalClassifier(
        given, confidence_level=coverage, conformity_score=kind, prefit=True, random_state=0
    )
    theirs.conformalize(probabilities.numpy(), labels.numpy())
    _, expected = theirs.predict_set(asked.numpy())
    ours = prediction_sets(asked, conformal_threshold(probabilities, labels, coverage, kind), kind)
    assert 1 < ours.sum(1).double().mean() < 5 or kind == "lac"
    np.testing.assert_array_equal(ours.numpy(), expected[:, :, 0])


@pytest.mark.parametrize(("kind", "low", "high"), [("lac", 0.893, 0.913), ("aps", 0.9, 0.99)])
def test_the_stated_coverage_is_reached(kind, low, high):
    """30 calibration images: the coverage of LAC is ⌈31 · 0.9⌉ / 31 = 0.903 on average, that of APS at least 0.9."""
    logits, labels = random_images(200 * 130, 4, seed=4)
    probabilities = logits.softmax(1).unflatten(0, (200, 130))
    labels, covered = labels.unflatten(0, (200, 130)), []
    for of_draw, truth in zip(probabilities, labels, strict=True):
        threshold = conformal_threshold(of_draw[:30], truth[:30], 0.9, kind)
        inside = prediction_sets(of_draw[30:], threshold, kind).gather(1, truth[30:, None])
        covered.append(inside.double().mean().item())
    assert low < np.mean(covered) < high


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
