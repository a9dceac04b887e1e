"""The classifier for Python programs: it trains and predicts as runs do, and behaves as scikit-learn expects."""

import json
import pickle
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import StratifiedGroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from biomed_dpt import FewShotClassifier
from dassl.errors import InputError
from tests.classifier import NAMES, classifier, two_classes


@pytest.fixture(scope="module")
def images(few_images):
    return two_classes(few_images)


@pytest.fixture(scope="module")
def fitted(images):
    return classifier(validation=2).fit(images.given, images.names)


@pytest.mark.parametrize(
    ("method", "short", "of_data"),
    [
        ("BiomedDPT", {"TRAINER.BIOMEDDPT.N_PROMPTS": 3}, {"OPTIM.LR": 0.01, "INPUT.RRCROP_SCALE": [0.3, 1.0]}),
        ("TipAdapterF", {"TRAINER.TIPADAPTERF.SEARCH_STEPS": 3}, {}),
    ],
)
def test_the_images_of_a_run_give_its_logits(method, short, of_data, build, few_images):
    """`of_data` are the settings that a run on the phantom data gets from the files in configs/."""
    short = {"OPTIM.MAX_EPOCH": 2, **short}
    run = build(method, shots=1, seed=3, root=str(few_images), opts=[part for pair in short.items() for part in pair])
    run.train()
    data = run.dm.dataset
    model = FewShotClassifier(method, "Tiny", data.classnames, "phantom", shots=1, seed=3, verbose=0)
    model.set_params(settings=short | of_data)
    train, val = ([item.impath for item in part] for part in (data.train_x, data.val))
    model.fit(train, [i.label for i in data.train_x], X_val=val, y_val=[i.label for i in data.val])
    with torch.no_grad():
        tested, _ = run._logits(data.test, "test images")
    assert torch.equal(model.logits([item.impath for item in data.test]), tested)
    assert model.bundle_.temperature == run.calibration()["temperature"]
    assert model.evaluation_["total"] == len(data.val)


def test_predictions_probabilities_and_attributes(fitted, images):
    probabilities = fitted.predict_proba(images.unseen)
    assert fitted.classes_.tolist() == sorted(NAMES)
    assert probabilities.shape == (8, 2)
    np.testing.assert_allclose(probabilities.sum(1), 1)
    logits = fitted.logits(images.unseen).double().numpy() / fitted.bundle_.temperature
    np.testing.assert_allclose(probabilities[:, [1, 0]], np.exp(logits) / np.exp(logits).sum(1, keepdims=True))
    assert fitted.predict(images.unseen).tolist() == [sorted(NAMES)[k] for k in probabilities.argmax(1)]
    assert fitted.score(images.unseen, fitted.predict(images.unseen)) == 1
    assert fitted.bundle_.calibration["fitted_on"] == "validation shots"
    assert fitted.evaluation_["total"] == 4
    assert fitted.workdir_ is None
    with pytest.raises(NotFittedError):
        classifier().predict(images.unseen)


def test_a_saved_classifier_predicts_the_same(fitted, images, tmp_path):
    fitted.save(tmp_path / "model")
    loaded = FewShotClassifier.load(tmp_path / "model", verbose=0)
    expected = fitted.predict_proba(images.unseen)
    assert np.array_equal(loaded.predict_proba(images.unseen), expected)
    assert np.array_equal(pickle.loads(pickle.dumps(fitted)).predict_proba(images.unseen), expected)
    assert loaded.get_params() == {**fitted.get_params(), "verbose": 0}
    about = json.loads((tmp_path / "model" / "bundle.json").read_text())
    assert about["provenance"]["training_images"] == sorted(set(about["provenance"]["training_images"]))
    assert len(about["provenance"]["training_images"]) == 8
    assert len(about["provenance"]["validation_images"]) == 4
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"holds \['notes.txt'\] and no bundle"):
        fitted.save(tmp_path / "other")


def test_changed_labels_in_a_bundle_are_refused(fitted, tmp_path):
    from biomed_dpt.fitting import read_fit
    from trainers.bundle import Bundle

    for labels in (None, ["one"], ["one", "one"], ["one", 2], [["a"], ["b"]]):
        with pytest.raises(InputError, match="'fit' is"):
            read_fit(Bundle({**fitted.bundle_.about, "fit": {"labels": labels}}, {}))
    run = {name: value for name, value in fitted.bundle_.about.items() if name != "fit"}
    assert read_fit(Bundle(run, {})) == (NAMES, {"settings": None})


@pytest.mark.parametrize(
    ("classes", "labels", "expected"),
    [
        (NAMES, [0, 1], [0, 1]),
        (NAMES, ["B", "M"], ["B", "M"]),
        ({"M": NAMES[0], "B": NAMES[1]}, ["M", "B"], ["B", "M"]),
        ({7: NAMES[0], 3: NAMES[1]}, [7, 3], [3, 7]),
        (NAMES, [False, True], [False, True]),
    ],
)
def test_labels_of_other_kinds(classes, labels, expected, images, tmp_path):
    model = FewShotClassifier("ZeroShot", "Tiny", classes, verbose=0).fit(images.given, np.repeat(labels, 6))
    assert model.classes_.tolist() == expected
    assert model.predictor_.classnames == NAMES
    by_name = dict(zip(NAMES, labels, strict=True))
    names = [NAMES[k] for k in model.logits(images.unseen).argmax(1).tolist()]
    assert model.predict(images.unseen).tolist() == [by_name[name] for name in names]
    model.save(tmp_path / "model")
    assert FewShotClassifier.load(tmp_path / "model", verbose=0).predict(images.unseen).tolist() == [
        by_name[name] for name in names
    ]


def test_it_is_an_estimator_of_scikit_learn(images):
    model = classifier(seed=5)
    assert clone(model).get_params() == model.get_params()
    assert model.get_params()["backbone"] == "Tiny"
    assert model.set_params(seed=2, backbone="CLIP").get_params()["backbone"] == "CLIP"
    patients = np.arange(12) // 2
    scores = cross_val_score(
        classifier("ZeroShot"), images.given, images.names, groups=patients, cv=StratifiedGroupKFold(2)
    )
    assert scores.shape == (2,)
    assert ((scores >= 0) & (scores <= 1)).all()
    pipeline = make_pipeline(FunctionTransformer(lambda paths: list(map(Image.open, paths))), classifier("ZeroShot"))
    pipeline.fit(images.given, images.names)
    assert pipeline.predict(images.unseen).tolist() == pipeline[-1].predict(images.unseen).tolist()


def test_a_fit_is_silent_leaves_nothing_and_no_random_state(images, capfd, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    seen = []
    model = classifier(callbacks=[seen.append, SimpleNamespace(on_epoch_end=lambda metrics: print("mine"))])
    arrays = np.stack([np.asarray(Image.open(path)) for path in images.given])
    model.fit(arrays, images.names)
    assert torch.equal(torch.rand(3), expected)
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("mine\n", "")
    assert [(m["epoch"], m["epochs"], "validation_accuracy" in m) for m in seen] == [(1, 1, False)]


def test_every_fit_in_a_work_folder_starts_anew(images, tmp_path):
    model = classifier(workdir=tmp_path / "work", verbose=0)
    pictures = [Image.open(path) for path in images.given]
    first = model.fit(pictures, images.names).logits(images.unseen)
    second = model.fit(pictures, images.names)
    assert torch.equal(second.logits(images.unseen), first)
    assert second.workdir_ == tmp_path / "work" / "fit2"
    assert len(list((tmp_path / "work" / "fit1" / "images").iterdir())) == 12
    assert {"bundle", "config.yaml", "images", "log.txt", "model.pth"} == {p.name for p in second.workdir_.iterdir()}
    loaded = FewShotClassifier.load(tmp_path / "work" / "fit1", verbose=0)
    assert torch.equal(loaded.logits(images.unseen), first)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        classifier("ZeroShot", workdir=tmp_path / "file").fit(images.given, images.names)


def test_a_callback_sees_the_epochs_changes_nothing_and_may_stop(images):
    settings = {"OPTIM.MAX_EPOCH": 3}
    seen = []

    def stop(metrics):
        seen.append(metrics)
        return metrics["epoch"] == 2

    def fit(**words):
        return classifier(settings=settings, validation=2, **words).fit(images.given, images.names)

    watched = fit(callbacks=[seen.append])
    assert [metrics["epoch"] for metrics in seen] == [1, 2, 3]
    assert all({"loss", "lr", "validation_accuracy"} <= metrics.keys() for metrics in seen)
    assert seen[-1]["validation_accuracy"] == watched.evaluation_["accuracy"]
    assert torch.equal(watched.logits(images.unseen), fit().logits(images.unseen))
    seen.clear()
    stopped = fit(callbacks=[stop])
    assert [metrics["epoch"] for metrics in seen] == [1, 2]
    assert not torch.equal(stopped.logits(images.unseen), watched.logits(images.unseen))
    with pytest.raises(RuntimeError, match="of the callback"):
        fit(callbacks=[lambda metrics: (_ for _ in ()).throw(RuntimeError("of the callback"))])


def test_a_temperature_from_cross_fitting(images):
    patients = np.arange(12) // 2
    model = classifier(cross_fit=True).fit(images.given, images.names, groups=patients)
    calibration = model.bundle_.calibration
    assert (calibration["fitted_on"], calibration["images"]) == ("cross-fitted training shots", 12)
    plain = classifier().fit(images.given, images.names)
    assert torch.equal(model.logits(images.unseen), plain.logits(images.unseen))
    assert plain.bundle_.calibration["fitted_on"] == "uncalibrated"


def test_features_of_the_frozen_backbone(fitted, images, tiny):
    model = classifier()
    found = model.backbone.encode_images(images.unseen)
    assert found.shape == (8, tiny.embed_dim)
    assert found.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-6)
    pixels = fitted.predictor_.pixels([fitted.predictor_.reader(path) for path in images.unseen])
    np.testing.assert_allclose(found, fitted.predictor_.features(pixels).numpy(), atol=1e-6)
    assert np.array_equal(fitted.backbone.encode_images([Image.open(path) for path in images.unseen]), found)
    texts = model.backbone.encode_texts(NAMES)
    expected = torch.nn.functional.normalize(tiny.encode_sentences(NAMES), dim=-1).numpy()
    np.testing.assert_allclose(texts, expected, atol=1e-6)
    assert repr(model.backbone) == "BackboneFeatures('Tiny')"
    for texts in ("a scan", [], [1]):
        with pytest.raises(InputError, match="must be a list of texts"):
            model.backbone.encode_texts(texts)


def test_a_torch_data_set_has_its_own_labels(images):
    class Pairs(torch.utils.data.Dataset):
        def __len__(self):
            return 12

        def __getitem__(self, place):  # without an IndexError at the end
            return Image.open(images.given[place % 12]), place // 6

    found = classifier("ZeroShot").fit(Pairs())
    assert found.classes_.tolist() == [0, 1]
    assert np.array_equal(found.predict(Pairs()), found.predict(images.given))


def test_an_explanation_is_asked_for_with_the_picture(fitted, images, monkeypatch):
    calls = []
    module = SimpleNamespace(explain=lambda *words: calls.append(words) or "a map")
    monkeypatch.setitem(sys.modules, "biomed_dpt.explain", module)
    array = np.asarray(Image.open(images.unseen[0]))
    assert fitted.explain(array, classname=NAMES[1]) == "a map"
    ((predictor, picture, explainer, classname),) = calls
    assert (predictor, explainer, classname) == (fitted.predictor_, "auto", NAMES[1])
    assert np.array_equal(np.asarray(picture), np.asarray(fitted.predictor_.reader(images.unseen[0])))
