"""The official code's numbers, step for step."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from configs import Choice, build_cfg
from dassl.engine import build_trainer
from trainers import biomedcoop
from trainers.features import Encoder

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
    "TEST.NO_TEST",  # the logits of the test images are compared here
    True,
]
BIOMED = "TRAINER.BIOMEDDPT."
RUNS = {
    "ZeroShot": ("Zeroshot", []),
    "ZeroShotEnsemble": ("Zeroshot_ensemble", []),
    "CoOp": ("CoOp_end", []),
    "KgCoOp": ("KgCoOp", ["TRAINER.KGCOOP.W", 2.0]),
    "CoCoOp": ("CoCoOp", []),
    "ProGrad": ("ProGrad_fixedteacher", ["TRAINER.PROGRAD.T", 2.0]),
    "VPT": ("VPT", ["TRAINER.VPT.VISUAL_PLACEMENT", "replace"]),
    "DPT": ("DPT_end_dropoff", ["TRAINER.DPT.VISUAL_PLACEMENT", "replace"]),
    "MaPLe": ("MaPLe_dropoff", ["TRAINER.MAPLE.PROMPT_DEPTH", 1, "TRAINER.MAPLE.VISUAL_PLACEMENT", "replace"]),
    "BiomedCoOp": ("BiomedCoOp_dropoff", []),
    "BiomedDPT": ("BiomedDPT_end_dropoff", [f"{BIOMED}L1_LAMBDA", 12.5, f"{BIOMED}KL_LAMBDA", 0.25]),
    "CLIPAdapter": ("ClipAdapter", ["OPTIM.LR", 0.01, "TRAINER.CLIPADAPTER.SCHEDULE", "step"]),
}
CTX, VISUAL, META = "prompt_learner.ctx", "image_encoder.ctx_learner.ctx", "prompt_learner.meta_net."
# Of each method, the names of its learned tensors here and in the recorded run.
LEARNED = {
    "CoOp": {"context.ctx": CTX},
    "KgCoOp": {"context.ctx": CTX},
    "BiomedCoOp": {"context.ctx": CTX},
    "BiomedDPT": {"context.ctx": CTX},
    "CoCoOp": {
        "context.ctx": CTX,
        **{f"meta_net.linear{k}.{kind}": f"{META}linear{k}.{kind}" for k in (1, 2) for kind in ("weight", "bias")},
    },
    "VPT": {"tokens.values": VISUAL},
    "DPT": {"context.ctx": CTX, "tokens.values": VISUAL},
    "MaPLe": {
        "context.ctx": CTX,
        "projections.0.weight": "prompt_learner.proj.weight",
        "projections.0.bias": "prompt_learner.proj.bias",
    },
    "CLIPAdapter": {"adapter.0.weight": "fc.0.weight", "adapter.2.weight": "fc.2.weight"},
}
PARTS = {"loss": "loss", "ce": "ce", "l1": "l1_weighted", "kl": "kl_weighted", "kg": "kg_weighted"}
PARTS |= {"sccm": "sccm", "kdsp": "kdsp"}


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
    if "fixed_embeddings" in run or method == "ZeroShotEnsemble":
        source = run if "fixed_embeddings" in run else np.load(golden / "runs" / "BiomedDPT_end_dropoff.npz")
        sentences = F.normalize(torch.from_numpy(source["fixed_embeddings"]).flatten(0, 1), dim=-1)
        monkeypatch.setattr(Encoder, "sentences", lambda self, texts: sentences[: len(texts)])
    order = np.load(golden / "inputs.npz")["batch_idx"].reshape(5, 16).tolist()
    monkeypatch.setattr("trainers.features.epoch_order", lambda count, seed, epoch: order[epoch])
    monkeypatch.setattr("dassl.data.samplers.epoch_order", lambda count, seed, epoch: order[epoch])
    opts = [*SETTINGS, *RUNS[method][1], *extra, "MODEL.BACKBONE.PATH", golden / "model", "OUTPUT_DIR", tmp_path]
    opts += ["DATASET.NUM_SHOTS", -1, "DATASET.PROMPTS", images_root / "prompts.json", "FEATURES", features]
    choice = Choice(
        method,
        backbone="BiomedCLIP",
        root=str(images_root),
        dataset_config_file=str(images_root / "MR.yaml"),
        opts=[*map(str, opts), "DATALOADER.NUM_WORKERS", "0"],
        accept_unread=True,
    )
    return build_trainer(build_cfg(choice)), run


def logits_on_test_images(trainer):
    items, _ = trainer.dm.dataset.test_of("all")
    with torch.no_grad():
        method = trainer.method
        features, _ = trainer.encoder.images(items, method.visual_prompt(), "test", keep=method.image_tower_is_frozen)
        return trainer.method.logits(features).numpy()


def copy_start(trainer, run, names):
    """Put the recorded start values into the trainable parameters."""
    state = trainer.method.state_dict()
    for own, recorded in names.items():
        state[own].copy_(torch.from_numpy(run[f"init/{recorded}"]).reshape(state[own].shape))


@pytest.mark.parametrize(
    ("method", "features"),
    [*((method, "ahead") for method in LEARNED), *((method, "online") for method in ("CoOp", "CoCoOp", "BiomedDPT"))],
)
def test_twenty_steps_equal_the_official_code(method, features, golden, images_root, tmp_path, monkeypatch):
    trainer, run = recorded_trainer(method, golden, images_root, tmp_path, monkeypatch, features)
    steps = json.loads((golden / "runs" / f"{RUNS[method][0]}.json").read_text())["steps"]
    names = LEARNED[method]
    assert set(trainer.method.state_dict()) == set(names)
    if "context.ctx" in names:
        context = trainer.method.context
        length = context.tokens.ids.shape[1]
        np.testing.assert_array_equal(context.tokens.ids, run["tokenized_prompts"][:, :length])
        np.testing.assert_allclose(context.ctx.detach(), run[f"init/{CTX}"], atol=1e-7)
    copy_start(trainer, run, names)
    np.testing.assert_allclose(logits_on_test_images(trainer), run["logits_before"], atol=1e-3)

    done, update = [], trainer.update

    def recording():
        lr, summary = trainer.get_current_lr(), {name: meter.val for name, meter in trainer._meters.meters.items()}
        update()
        done.append((lr, summary, {name: value.clone() for name, value in trainer.method.state_dict().items()}))

    trainer.update = recording
    trainer.train()
    assert len(done) == len(steps) == 20
    for k, ((lr, summary, learned), expected) in enumerate(zip(done, steps, strict=True)):
        assert lr == pytest.approx(expected["lr"], rel=1e-6)
        for name, recorded in PARTS.items():
            if recorded in expected:
                assert summary[name] == pytest.approx(expected[recorded], rel=1e-4, abs=1e-5), (k, name)
        for own, recorded in names.items():
            if f"traj/{recorded}" in run:
                expected_value = run[f"traj/{recorded}"][k].reshape(learned[own].shape)
                np.testing.assert_allclose(learned[own], expected_value, atol=1e-4)
    for own, recorded in names.items():
        np.testing.assert_allclose(learned[own], run[f"final/{recorded}"].reshape(learned[own].shape), atol=1e-4)
    np.testing.assert_allclose(logits_on_test_images(trainer), run["logits_after"], atol=1e-3)


def test_biomed_coop_selects_the_sentences_of_the_official_code(golden, images_root, tmp_path, monkeypatch):
    chosen = []
    original = biomedcoop.select
    monkeypatch.setattr(biomedcoop, "select", lambda *args: chosen.append(original(*args)) or chosen[-1])
    trainer, _ = recorded_trainer("BiomedCoOp", golden, images_root, tmp_path, monkeypatch)
    trainer.train()
    steps = json.loads((golden / "runs" / "BiomedCoOp_dropoff.json").read_text())["steps"]
    assert [mask.tolist() for mask in chosen] == [[bool(m) for m in step["prompt_mask"]] for step in steps]


def test_first_step_of_prograd_equals_the_official_code(golden, images_root, tmp_path, monkeypatch):
    """Later steps cannot be compared: at the first one student and teacher coincide, and rounding decides."""
    trainer, run = recorded_trainer("ProGrad", golden, images_root, tmp_path, monkeypatch)
    step = json.loads((golden / "runs" / "ProGrad_fixedteacher.json").read_text())["steps"][0]
    np.testing.assert_allclose(logits_on_test_images(trainer), run["logits_before"], atol=1e-3)
    trainer.epoch = 0
    batch = next(iter(trainer.epoch_batches()))
    logits, ce, kl = trainer.method.parts(batch["features"], batch["label"])
    np.testing.assert_allclose(logits.detach(), run["train_logits"][0], atol=1e-3)
    assert ce.item() == pytest.approx(step["ce"], rel=1e-4)
    assert kl.item() == pytest.approx(step["kl_loss"], rel=1e-4)
    (gradient,) = torch.autograd.grad(ce, trainer.method.context.ctx)
    assert gradient.norm().item() == pytest.approx(step["a_grad_norm"], rel=1e-3)


@pytest.mark.parametrize("method", ["ZeroShot", "ZeroShotEnsemble"])
def test_zero_shot_equals_the_official_code(method, golden, images_root, tmp_path, monkeypatch):
    trainer, run = recorded_trainer(method, golden, images_root, tmp_path, monkeypatch)
    expected = run["text_features"] / np.linalg.norm(run["text_features"], axis=1, keepdims=True)
    np.testing.assert_allclose(trainer.method.text_features(), expected, atol=1e-5)
    np.testing.assert_allclose(logits_on_test_images(trainer), run["logits_test"], atol=1e-3)
