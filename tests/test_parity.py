"""The official code's numbers, step for step."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from clip.backbone import Backbone
from configs import Choice, build_cfg
from dassl.engine import build_trainer

CLASSES = ["glioma tumor", "meningioma tumor", "normal brain", "pituitary tumor"]
SETTINGS = [
    "OPTIM.LR",
    0.0025,
    "OPTIM.MAX_EPOCH",
    5,
    "DATALOADER.TRAIN_X.BATCH_SIZE",
    4,
    "INPUT.TRANSFORMS",
    "['normalize']",
]
RUNS = {
    "ZeroShot": ("Zeroshot", []),
    "CoOp": ("CoOp_end", []),
    "BiomedDPT": ("BiomedDPT_end_dropoff", ["TRAINER.BIOMEDDPT.L1_LAMBDA", 12.5, "TRAINER.BIOMEDDPT.KL_LAMBDA", 0.25]),
}
PARTS = {"loss": "loss", "ce": "ce", "l1": "l1_weighted", "kl": "kl_weighted"}


@pytest.fixture(scope="module")
def golden(shared):
    """Recorded inputs, and the recorded model's cache for the duration of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        # The recorded model's config names BERT's own repository; its hub cache is a folder.
        import huggingface_hub.constants as hub
        import transformers.utils.hub as transformers_hub

        cache = str(shared / "golden" / "hf_home" / "hub")
        patch.setenv("HF_HUB_CACHE", cache)
        patch.setattr(hub, "HF_HUB_CACHE", cache)
        patch.setattr(hub, "HF_HUB_OFFLINE", True)
        for name in ("TRANSFORMERS_CACHE", "HF_HUB_CACHE"):
            if hasattr(transformers_hub, name):
                patch.setattr(transformers_hub, name, cache)
        yield shared / "golden"


@pytest.fixture(scope="module")
def images_root(golden, tmp_path_factory):
    """The recorded images as a data set on disk: PNG keeps every pixel, the split keeps their order."""
    root = tmp_path_factory.mktemp("golden")
    folder = root / "MR" / "MR"
    inputs = np.load(golden / "inputs.npz")
    split = {}
    for name in CLASSES:
        (folder / name.replace(" ", "_")).mkdir(parents=True)
    for part in ("train", "val", "test"):
        split[part] = []
        for k, (pixels, label) in enumerate(zip(inputs[f"{part}_u8"], inputs[f"{part}_labels"], strict=True)):
            file = f"{CLASSES[label].replace(' ', '_')}/{part}{k:02d}.png"
            Image.fromarray(pixels.transpose(1, 2, 0)).save(folder / file)
            split[part].append([file, int(label), CLASSES[label]])
    (root / "MR" / "split_MR.json").write_text(json.dumps(split))
    sentences = {name: [f"Sentence {k} of {name} stands in for a recorded one." for k in range(50)] for name in CLASSES}
    content = {"template": "a MR photo of a {} in the brain.", "classes": sentences}
    (root / "prompts.json").write_text(json.dumps(content))
    (root / "MR.yaml").write_text("DATASET:\n  NAME: Folder\n  FOLDER: MR\n")
    return root


def recorded_trainer(method, golden, images_root, tmp_path, monkeypatch, features="ahead", extra=()):
    run = np.load(golden / "runs" / f"{RUNS[method][0]}.npz")
    if "fixed_embeddings" in run:
        sentences = torch.from_numpy(run["fixed_embeddings"]).flatten(0, 1)
        monkeypatch.setattr(Backbone, "encode_sentences", lambda self, texts: sentences[: len(texts)])
    order = np.load(golden / "inputs.npz")["batch_idx"].reshape(5, 16).tolist()
    monkeypatch.setattr("trainers.tuner.epoch_order", lambda count, seed, epoch: order[epoch])
    monkeypatch.setattr("dassl.data.samplers.epoch_order", lambda count, seed, epoch: order[epoch])
    opts = [*SETTINGS, *RUNS[method][1], *extra, "MODEL.BACKBONE.PATH", golden / "model", "OUTPUT_DIR", tmp_path]
    opts += ["DATASET.NUM_SHOTS", -1, "DATASET.PROMPTS", images_root / "prompts.json", "FEATURES", features]
    choice = Choice(
        method,
        backbone="BiomedCLIP",
        root=str(images_root),
        dataset_config_file=str(images_root / "MR.yaml"),
        opts=[*map(str, opts), "DATALOADER.NUM_WORKERS", "0"],
    )
    return build_trainer(build_cfg(choice)), run


def logits_on_test_images(trainer):
    items, _ = trainer.dm.dataset.test_of("all")
    features, _ = trainer.encoder.images(items, trainer.visual_prompt, "test")
    with torch.no_grad():
        return trainer.logits(features).numpy()


@pytest.mark.parametrize("features", ["ahead", "online"])
@pytest.mark.parametrize("method", ["CoOp", "BiomedDPT"])
def test_twenty_steps_equal_the_official_code(method, features, golden, images_root, tmp_path, monkeypatch):
    trainer, run = recorded_trainer(method, golden, images_root, tmp_path, monkeypatch, features)
    steps = json.loads((golden / "runs" / f"{RUNS[method][0]}.json").read_text())["steps"]
    length = trainer.context.tokens.ids.shape[1]
    np.testing.assert_array_equal(trainer.context.tokens.ids, run["tokenized_prompts"][:, :length])
    np.testing.assert_allclose(trainer.context.ctx.detach(), run["init/prompt_learner.ctx"], atol=1e-7)
    np.testing.assert_allclose(logits_on_test_images(trainer), run["logits_before"], atol=1e-3)

    done, update = [], trainer.update

    def recording():
        lr, summary = trainer.get_current_lr(), {name: meter.val for name, meter in trainer._meters.meters.items()}
        update()
        done.append((lr, summary, trainer.context.ctx.detach().clone()))

    trainer.update = recording
    trainer.train()
    assert len(done) == len(steps) == 20
    for k, ((lr, summary, context), expected) in enumerate(zip(done, steps, strict=True)):
        assert lr == pytest.approx(expected["lr"], rel=1e-6)
        for name, recorded in PARTS.items():
            if recorded in expected:
                assert summary[name] == pytest.approx(expected[recorded], rel=1e-4), (k, name)
        np.testing.assert_allclose(context, run["traj/prompt_learner.ctx"][k], atol=1e-4)
    np.testing.assert_allclose(trainer.context.ctx.detach(), run["final/prompt_learner.ctx"], atol=1e-4)
    np.testing.assert_allclose(logits_on_test_images(trainer), run["logits_after"], atol=1e-3)


def test_zero_shot_equals_the_official_code(golden, images_root, tmp_path, monkeypatch):
    trainer, run = recorded_trainer("ZeroShot", golden, images_root, tmp_path, monkeypatch)
    expected = run["text_features"] / np.linalg.norm(run["text_features"], axis=1, keepdims=True)
    np.testing.assert_allclose(trainer.text_features(), expected, atol=1e-5)
    np.testing.assert_allclose(logits_on_test_images(trainer), run["logits_test"], atol=1e-3)
