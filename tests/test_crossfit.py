"""Cross-fitting: folds, held-out logits, every method, patients, and --calibrate."""

import json
import os
from types import SimpleNamespace

import pytest
import torch

import train
from dassl.data.datasets import Datum
from dassl.errors import DivergedError, InputError
from tests.registered import METHODS
from tests.test_pairs import SHORT, TWO_STEPS
from trainers.bundle import read_bundle
from trainers.calibration import fit_temperature
from trainers.crossfit import cross_fitted_calibration, cross_fitted_logits, folds_of, planned_folds

ITEMS = [Datum(f"{label}{k}.png", label, classname="ab"[label]) for label in (1, 0) for k in range(4)]


def test_folds_have_the_same_share_of_each_class():
    for folds, size in ((4, 1), (2, 2), (9, 1)):
        found = folds_of(ITEMS, folds=folds)
        assert sorted(found[:4]) == sorted(found[4:]) == sorted(list(range(4 // size)) * size)
    assert folds_of(ITEMS, folds=2, seed=1) == folds_of(ITEMS, folds=2, seed=1)
    assert len({tuple(folds_of(ITEMS, folds=2, seed=seed)) for seed in range(9)}) > 1


def test_patients_are_in_one_fold():
    groups = ["p", "p", "q", "r", "s", "s", "p", "t"]
    found = folds_of(ITEMS, groups)
    assert len({fold for fold, group in zip(found, groups, strict=True) if group == "p"}) == 1
    assert all(len(set(of_class)) > 1 for of_class in (found[:4], found[4:]))


def test_a_class_that_cannot_be_divided_is_refused():
    with pytest.raises(InputError, match="2 training images of each class, and class 'a' has 1: "):
        folds_of(ITEMS[:5])
    with pytest.raises(InputError, match="2 training patients of each class, and class 'b' has 1: "):
        folds_of(ITEMS, ["p"] * 4 + ["p", "q", "r", "s"])
    pairs = ["pq", "rs", "pr", "qs", "ps", "qr"]  # the two patients of each of six classes: no two halves fit them all
    items = [Datum(f"{k}{patient}", k, classname=str(k)) for k, pair in enumerate(pairs) for patient in pair]
    with pytest.raises(InputError, match="the patients cannot be divided"):
        folds_of(items, [*"".join(pairs)])
    with pytest.raises(InputError, match="there are none"):
        folds_of([])


def test_each_image_gets_its_logits_from_a_model_without_it():
    trained = []

    def build(others):
        def logits_of(items, describe):
            assert trained[-1] == "trained"
            assert not {item.impath for item in items} & {item.impath for item in others}
            assert len(items) + len(others) == len(ITEMS)
            return torch.tensor([[ITEMS.index(item), len(others)] for item in items]), None

        trained.append("built")
        return SimpleNamespace(trainable_parameters=1, train=lambda: trained.append("trained"), logits_of=logits_of)

    logits, labels = cross_fitted_logits(build, ITEMS, folds=2)
    assert logits.tolist() == [[k, 4] for k in range(8)]
    assert labels.tolist() == [1] * 4 + [0] * 4
    assert trained == ["built", "trained"] * 2


def test_a_fold_that_diverges_is_named():
    def diverge():
        raise DivergedError("the loss is nan")

    with pytest.raises(DivergedError, match="cross-fitting, fold 1 of 2: the loss is nan"):
        cross_fitted_logits(lambda others: SimpleNamespace(trainable_parameters=1, train=diverge), ITEMS, folds=2)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_cross_fitted(method, build, few_images):
    opts = [*TWO_STEPS, "OPTIM.MAX_EPOCH", 1, "DATALOADER.TRAIN_X.BATCH_SIZE", 16]
    opts += [f"TRAINER.{method.upper()}.{SHORT[method][0]}", SHORT[method][1]] if method in SHORT else []
    trainer = build(method, shots=4, root=str(few_images), opts=opts)
    start = {name: value.clone() for name, value in trainer.method.state_dict().items()}
    calibration = cross_fitted_calibration(trainer, folds=2)
    assert 0 < calibration.pop("temperature") < 1e4
    assert calibration == {"fitted_on": "cross-fitted training shots", "images": 32, "folds": 2}
    assert all(torch.equal(value, start[name]) for name, value in trainer.method.state_dict().items())
    assert os.listdir(trainer.output_dir) == []


def test_a_method_that_learns_nothing_has_the_logits_of_its_test(build, few_images):
    trainer = build("ZeroShot", shots=4, root=str(few_images))
    expected = fit_temperature(*trainer.logits_of(trainer.dm.dataset.train_x, "images"))
    assert cross_fitted_calibration(trainer)["temperature"] == pytest.approx(expected, rel=1e-4)


def test_the_best_model_on_validation_and_patients(build, few_images):
    """Phantom images with one number count as images of one patient, whatever their class."""
    opts = [*TWO_STEPS, "OPTIM.MAX_EPOCH", 1, "TEST.FINAL_MODEL", "best_val", "DATASET.GROUP", r"_(\d+)\."]
    trainer = build("CLIPAdapter", shots=4, root=str(few_images), opts=opts)
    items, folds = trainer.dm.dataset.train_x, planned_folds(trainer, folds=3)
    numbers = {(item.impath.rpartition("_")[2], fold) for item, fold in zip(items, folds, strict=True)}
    assert len({number for number, _ in numbers}) == len(numbers)
    assert cross_fitted_calibration(trainer, folds=3)["folds"] == len(set(folds)) == 3


def test_calibrate_changes_the_temperature_and_no_number(few_images, tmp_path, capsys):
    def run(name, *words):
        common = ["--trainer", "CLIPAdapter", "--root", str(few_images), "--output-dir", str(tmp_path / name)]
        code = train.main([*common, *words, "OPTIM.MAX_EPOCH", "1"])
        path = tmp_path / name / "results.json"
        return code, capsys.readouterr(), json.loads(path.read_text()) if path.is_file() else None

    _, _, plain = run("plain", "--shots", "2")
    code, printed, crossed = run("crossed", "--shots", "2", "--calibrate")
    assert code == 0
    assert "2 more models are trained" in printed.out
    assert crossed["calibration"] == read_bundle(tmp_path / "crossed").calibration
    assert (crossed["calibration"]["folds"], crossed["calibration"]["images"]) == (2, 16)
    assert crossed["calibration"]["temperature"] != plain["calibration"]["temperature"]
    for key in ("metrics", "loss_per_epoch", "settings_digest", "seed", "shots"):
        assert crossed[key] == plain[key]
    assert run("crossed", "--shots", "2", "--calibrate")[0] == 0
    for words, message in (
        (("plain", "--shots", "2", "--calibrate"), "it was not calibrated by cross-fitting"),
        (("single", "--shots", "1", "--calibrate"), "class 'cyst in fatty tissue' has 1"),
        (("none", "--calibrate", "--no-train"), "--calibrate needs a training"),
        (("none", "--calibrate", "--eval-only"), "--calibrate needs a training"),
    ):
        code, printed, _ = run(*words)
        assert code == 2
        assert message in printed.err
