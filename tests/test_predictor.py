"""A bundle and its backbone predict as the run did, for its classes and for others; what does not fit is refused."""

import shutil

import pytest
import torch
from torch.nn import functional as F

from dassl.errors import InputError
from tests.bundles import CLASSES, entry, forge, random_bundle, tensor
from trainers.bundle import TEXT, Bundle, read_bundle, write_bundle
from trainers.predictor import Predictor

PIXELS = torch.randn(2, 3, 160, 160, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def bundle(tiny):
    return random_bundle("CoOp", tiny)


def logits_of(predictor, pixels=PIXELS):
    return predictor.logits(predictor.features(pixels))


def test_a_copy_predicts_without_the_folder_it_was_made_in(bundle, tmp_path, tiny):
    write_bundle(tmp_path / "run" / "bundle", bundle, "card")
    copied = shutil.copytree(tmp_path / "run" / "bundle", tmp_path / "copied")
    shutil.rmtree(tmp_path / "run")
    assert torch.equal(logits_of(Predictor(read_bundle(copied), tiny)), logits_of(Predictor(bundle, tiny)))


def test_probabilities_are_the_softmax_of_the_logits_over_the_temperature(bundle, tiny):
    predictor = Predictor(bundle, tiny)
    logits = torch.tensor([[3.0, 0.0, 0.0]])  # at temperature 1.5: e² / (e² + 2) = 0.78699
    assert predictor.temperature == 1.5
    assert predictor.probabilities(logits)[0].tolist() == pytest.approx([0.786986, 0.106507, 0.106507], abs=1e-6)


def test_other_classes_have_temperature_one_and_those_of_the_bundle_keep_theirs(bundle, tiny):
    others = Predictor(bundle, tiny, classnames=["cyst", "scar"])
    assert (others.classnames, others.temperature) == (["cyst", "scar"], 1.0)
    assert logits_of(others).shape == (2, 2)
    same = Predictor(bundle, tiny, classnames=CLASSES)
    assert same.temperature == 1.5
    assert torch.equal(logits_of(same), logits_of(Predictor(bundle, tiny)))
    with pytest.raises(InputError, match="hold one more than once"):
        Predictor(bundle, tiny, classnames=["cyst", "cyst"])


def test_other_classes_equal_the_test_on_new_classes_of_a_run_from_base_to_new(build, few_images, tmp_path):
    trainer = build("CoOp", root=str(few_images), protocol="base2new", opts=["OPTIM.MAX_EPOCH", 1])
    trainer.train()
    write_bundle(tmp_path / "made", trainer.bundle(trainer.calibration(), {}), "card")
    items, names = trainer.dm.dataset.test_of("new")
    predictor = Predictor(read_bundle(tmp_path / "made"), trainer.backbone, classnames=names)
    logits = logits_of(predictor, predictor.pixels([predictor.reader(item.impath) for item in items]))
    trainer.set_model_mode("eval")
    trainer.method.set_classes(names)
    with torch.no_grad():
        tested, labels = trainer._logits(items, "test images")
    assert torch.equal(logits, tested)
    correct = (logits.argmax(1) == labels).sum().item()
    assert correct == trainer.evaluation["new"]["correct"]
    assert predictor.classnames == names != trainer.dm.dataset.classnames


@pytest.mark.parametrize("method", ["LinearProbe", "TipAdapter", "LPpp"])
def test_methods_with_weights_of_their_classes_refuse_others(method, tiny):
    with pytest.raises(InputError, match=rf"holds {method}, whose learned weights belong to its classes .*'cyst'"):
        Predictor(random_bundle(method, tiny), tiny, classnames=["a", "b", "c"])


def test_a_context_of_its_own_for_each_class_refuses_others(tiny):
    csc = random_bundle("CoOp", tiny, CSC=True, CTX_INIT="")
    with pytest.raises(InputError, match="whose learned weights belong to its classes"):
        Predictor(csc, tiny, classnames=["a", "b", "c"])


def test_an_ensemble_of_sentences_predicts_without_them_and_refuses_other_classes(build, few_images, tmp_path):
    trainer = build("ZeroShotEnsemble", root=str(few_images), opts=["TRAINER.ZEROSHOTENSEMBLE.N_PROMPTS", 3])
    bundle = trainer.bundle({"temperature": 1.0, "fitted_on": "uncalibrated", "images": 0}, {})
    write_bundle(tmp_path / "made", bundle, "card")
    read, text = read_bundle(tmp_path / "made"), trainer.method.text_features()
    predictor = Predictor(read, trainer.backbone)
    features = predictor.features(PIXELS)
    expected = trainer.backbone.logit_scale * F.normalize(features, dim=-1) @ text.T
    assert torch.allclose(predictor.logits(features), expected, atol=1e-4)
    with pytest.raises(InputError, match=r"makes text features of the sentences .* train with these classes"):
        Predictor(read, trainer.backbone, classnames=["a", "b"])


def test_a_context_that_depends_on_the_image_has_no_text_features(tiny):
    bundle = random_bundle("CoCoOp", tiny)
    assert bundle.text_features is None
    assert logits_of(Predictor(bundle, tiny)).shape == (2, 3)
    with pytest.raises(InputError, match="CoCoOp on Tiny needs no text features"):
        Predictor(Bundle(bundle.about, {**bundle.tensors, TEXT: torch.zeros(3, 128)}), tiny)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (entry("method", "CoOpp"), "unknown method 'CoOpp'. Did you mean 'CoOp'"),
        (entry("backbone.digest", "0" * 32), "other weights of Tiny .digest 000000000000, here .*--backbone-path"),
        (entry("settings.N_CTXX", 4), "unknown setting of the bundle .*: settings 'N_CTXX'"),
        (entry("settings.N_CTX", "four"), "N_CTX"),
        (entry("settings.N_CTX", 5), "the bundle .*: N_CTX is 5, but the prompt's start 'a photo of a' has 4 tokens"),
        (entry("preprocessing.SIZE", [224, 224]), "prepares images of .224, 224. pixels, and Tiny reads 160"),
        (tensor(TEXT, torch.zeros(3, 64)), "text features of shape .3, 64., and CoOp on Tiny needs .*3, 128."),
        (lambda _, tensors: tensors.pop(TEXT), "has no text features, and CoOp on Tiny needs"),
        (tensor("method.context.ctx", torch.zeros(3, 128)), "'context.ctx' has shape .3, 128., the model's .4, 128."),
        (tensor("method.context.ctx", torch.zeros(4, 128).int()), "has numbers of type torch.int32"),
        (tensor("method.more", torch.zeros(1)), "unknown: more"),
        (lambda _, tensors: tensors.pop("method.context.ctx"), "missing: context.ctx"),
    ],
)
def test_a_bundle_that_does_not_fit_its_method_or_backbone_is_refused(bundle, tmp_path, tiny, change, message):
    with pytest.raises(InputError, match=message) as error:
        Predictor(read_bundle(forge(bundle, tmp_path / "forged", change)), tiny, device="cpu")
    assert len(str(error.value)) < 900


def test_names_are_checked_before_a_backbone_is_read(bundle, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("trainers.predictor.build_backbone", lambda *_: pytest.fail("was read"))
        with pytest.raises(InputError, match="unknown method 'Nothing'"):
            Predictor(Bundle({**bundle.about, "method": "Nothing"}, bundle.tensors))
    other = {**bundle.about, "backbone": {**bundle.about["backbone"], "name": "Tinyy"}}
    with pytest.raises(InputError, match=r"unknown backbone 'Tinyy'. Did you mean 'Tiny'"):
        Predictor(Bundle(other, bundle.tensors))


def test_a_cache_of_huge_declared_size_takes_no_memory(tiny):
    made = random_bundle("TipAdapter", tiny)
    for keys in (torch.zeros(()), torch.zeros(10**7, 1, dtype=torch.int8)):
        with pytest.raises(InputError, match="does not fit TipAdapter with its settings: 'cache"):
            Predictor(Bundle(made.about, {**made.tensors, "method.cache.keys": keys}), tiny, device="cpu")
