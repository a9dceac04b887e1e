"""What holds for every registered method: gradients, precision, resuming, the work it does, its published variant."""

import json
from dataclasses import asdict

import numpy as np
import pytest
import torch

from clip import BiomedCLIP
from tests.compare import assert_same_evaluation
from tests.registered import FITTED, LEARNING, METHOD_CLASSES, METHODS, STEPPING

EPOCHS, SHOTS, BATCH, CLASSES = 3, 1, 4, 8
OPTS = ["OPTIM.MAX_EPOCH", EPOCHS, "DATALOADER.TRAIN_X.BATCH_SIZE", BATCH, "OPTIM.WARMUP_EPOCH", -1]
SHORT = {
    "CLIPLoRA": ["TRAINER.CLIPLORA.ITERATIONS_PER_SHOT", 0],
    "LinearProbe": ["TRAINER.LINEARPROBE.SEARCH_STEPS", 1],
    "TipAdapter": ["TRAINER.TIPADAPTER.SEARCH_STEPS", 3],
    "TipAdapterF": ["TRAINER.TIPADAPTERF.SEARCH_STEPS", 3],
}
# Rows of the text tower in a step, for methods that do not encode one prompt per class with their context.
TEXT_ROWS = {"CoCoOp": BATCH * CLASSES, "CLIPLoRA": CLASSES}
IMAGE_PASSES = {"PromptSRC": 2}  # the prompted and the frozen tower; all others look at a view once


@pytest.fixture
def run(build, few_images):
    def _run(method, *opts, **words):
        return build(method, shots=SHOTS, opts=[*OPTS, *SHORT.get(method, []), *opts], **words)

    return _run


def losses(trainer):
    return [value for _, value in trainer.history["train/loss"]]


@pytest.mark.parametrize("method", STEPPING)
def test_every_learned_number_gets_a_gradient(method, run):
    trainer = run(method)
    parameters = dict(trainer.method.named_parameters())
    reached = {name: torch.zeros((), dtype=torch.bool) for name in parameters}
    update = trainer.update

    def look():
        for name, parameter in parameters.items():
            assert parameter.grad is not None, name
            reached[name] |= parameter.grad.abs().sum() > 0
        update()

    trainer.update = look
    trainer.train()
    assert [name for name, found in reached.items() if not found] == []
    assert np.isfinite(losses(trainer)).all()
    assert len(losses(trainer)) == EPOCHS * 2


@pytest.mark.parametrize("method", STEPPING)
def test_mixed_precision_stays_near(method, run):
    exact, mixed = run(method), run(method, f"TRAINER.{method.upper()}.PREC", "amp")
    for trainer in (exact, mixed):
        trainer.train()
    np.testing.assert_allclose(losses(mixed), losses(exact), rtol=0.1, atol=0.1)
    assert losses(mixed) != losses(exact)
    assert all(value.dtype == torch.float32 for value in mixed.method.state_dict().values())


@pytest.mark.parametrize("method", LEARNING)
def test_an_interrupted_run_ends_as_an_undisturbed_one(method, run):
    whole = run(method)
    whole.train()
    first = run(method)
    finish = first.after_epoch

    def interrupt():
        finish()
        raise KeyboardInterrupt

    first.after_epoch = interrupt
    if method in FITTED:
        first.method.fit = lambda data: interrupt()
        finish = lambda: None  # noqa: E731
    with pytest.raises(KeyboardInterrupt):
        first.train()
    again = run(method, "OUTPUT_DIR", first.output_dir)
    again.train()
    assert again.start_epoch == (0 if method in FITTED else 1)
    assert losses(again) == losses(whole)
    assert_same_evaluation(again.evaluation, whole.evaluation)


@pytest.mark.parametrize("method", LEARNING)
def test_no_tower_does_more_than_the_method_needs(method, run, monkeypatch):
    monkeypatch.setenv("BIOMED_DPT_CACHE_GB", "0")
    trainer = run(method, "TEST.NO_TEST", True)
    rows = {"text": 0, "image": 0}
    text, image = BiomedCLIP.encode_text, BiomedCLIP.encode_image

    def count_text(self, embeddings, *args):
        rows["text"] += len(embeddings)
        return text(self, embeddings, *args)

    def count_image(self, pixels, *args):
        rows["image"] += len(pixels)
        return image(self, pixels, *args)

    monkeypatch.setattr(BiomedCLIP, "encode_text", count_text)
    monkeypatch.setattr(BiomedCLIP, "encode_image", count_image)
    trainer.train()
    images = len(trainer.dm.dataset.train_x)
    validation = len(trainer.dm.dataset.val)
    if method in FITTED:
        assert rows == {"text": 0, "image": images + validation}
        return
    steps = EPOCHS * images // BATCH
    assert rows["text"] == steps * TEXT_ROWS.get(method, CLASSES if trainer.method.context is not None else 0)
    once = IMAGE_PASSES.get(method, 1) * EPOCHS * images
    assert rows["image"] == once + (images + validation if method == "TipAdapterF" else 0)


@pytest.mark.parametrize("method", METHODS)
def test_the_published_variant_runs(method, run):
    trainer = run(method, published=True)
    assert trainer.cfg.PUBLISHED
    trainer.train()
    assert np.isfinite(losses(trainer)).all()
    assert trainer.evaluation["all"]["total"] == 24


def test_the_published_variant_is_what_the_methods_facts_say():
    from configs import Choice, build_cfg

    def changed(method):
        clean, published = (build_cfg(Choice(method, published=p)).TRAINER[method.upper()] for p in (False, True))
        return {key: value for key, value in published.items() if value != clean[key]}

    assert {method: changed(method) for method in METHODS if changed(method)} == {
        "BiomedDPT": {"TEXT_DROPOUT": True},
        "BiomedCoOp": {"TEXT_DROPOUT": True},
        "CLIPAdapter": {"SCHEDULE": "step"},
        "DPT": {"TEXT_DROPOUT": True, "VISUAL_PLACEMENT": "replace"},
        "LPpp": {"ACCUMULATE": True, "BIAS": True},
        "LinearProbe": {"CHOICE": "last"},
        "MaPLe": {"PROMPT_DEPTH": 1, "TEXT_DROPOUT": True, "VISUAL_PLACEMENT": "replace"},
        "ProGrad": {"TEACHER": "self"},
        "TipAdapterF": {"ALPHAS": [float(k) for k in range(10)]},
        "VPT": {"VISUAL_PLACEMENT": "replace"},
    }


@pytest.mark.parametrize("method", [cls.__name__ for cls in METHOD_CLASSES if not cls.class_specific])
def test_new_classes_are_served_by_what_was_learned_on_base_classes(method, run):
    trainer = run(method, protocol="base2new")
    trainer.train()
    assert {part: metrics["total"] for part, metrics in trainer.evaluation.items()} == {"base": 12, "new": 12}
    names = list(trainer.evaluation["new"]["sensitivity"])
    assert names == trainer.dm.dataset.test_of("new")[1]
    assert trainer.method.classnames == trainer.dm.dataset.classnames  # the base classes are back in place


@pytest.mark.parametrize("method", LEARNING)
def test_checkpoints_hold_what_was_learned_and_no_more(method, run, tmp_path):
    trainer = run(method)
    trainer.train()
    (file,) = (path for path in tmp_path.rglob("model.pth"))
    stored = torch.load(file, weights_only=True)
    assert sum(value.numel() for value in stored["state_dict"].values()) == trainer.trainable_parameters
    assert file.stat().st_size < 4 * trainer.trainable_parameters + 200 * 1024
    about = stored["about"]
    assert (about["method"], about["backbone"]) == (method, "Tiny")
    assert about["classnames"] == trainer.method.classnames
    assert json.loads(about["settings"]) == asdict(trainer.method.config)
