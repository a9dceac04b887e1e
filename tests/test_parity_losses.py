"""The prompt learners' losses and selections on the official code's recorded logits and features, without its model.

Whole trainings are compared in test_parity.py, which needs the recorded weights.
"""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from trainers.biomedcoop import BiomedCoOp, select
from trainers.kgcoop import KgCoOp
from trainers.losses import kl_to_teacher, soft_cross_entropy
from trainers.method import Setup

DATA = Path(__file__).parent / "data"
RUN = {name: torch.from_numpy(value) for name, value in np.load(DATA / "parity_prompts.npz").items()}
STEPS = json.loads((DATA / "parity_prompts.json").read_text())
FEATURES = {name: torch.from_numpy(value) for name, value in np.load(DATA / "parity_features.npz").items()}
SCALE = 85.23231506347656


class RecordedText:
    """Stands in for the learned context: its text features are given."""

    def __init__(self, text):
        self.features = lambda: text
        self.set_classes = lambda classnames: None


def on_recorded_text(cls, text, **settings):
    """A prompt learner without towers: its text features are given, and batches hold image features."""

    class OnRecordedText(cls):
        def build(self):
            self.context = RecordedText(text)

        def set_classes(self, classnames):
            pass

    backbone = SimpleNamespace(logit_scale=SCALE)
    setup = Setup(backbone, SimpleNamespace(), [], torch.tensor([]), for_training=False)
    return OnRecordedText(setup, cls.Config(**settings))


def batch_of(step):
    return {"features": FEATURES["train_features"][step["batch"]], "label": torch.tensor(step["labels"])}


@pytest.mark.parametrize("method", sorted(STEPS))
def test_cross_entropy_of_every_step(method):
    for logits, step in zip(RUN[f"{method}_train_logits"], STEPS[method], strict=True):
        assert F.cross_entropy(logits, torch.tensor(step["labels"])).item() == pytest.approx(step["ce"], rel=1e-4)


@pytest.mark.parametrize("method", ["KgCoOp", "BiomedCoOp", "ProGrad"])
def test_logits_after_training_are_scaled_cosines(method):
    text = F.normalize(RUN[f"{method}_text_features_raw_after"], dim=-1)
    found = SCALE * FEATURES["test_features"] @ text.T
    torch.testing.assert_close(found, RUN[f"{method}_logits_after"], atol=1e-3, rtol=0)


@pytest.mark.parametrize("method", ["VPT", "DPT", "MaPLe"])
def test_logits_before_training_are_scaled_cosines_of_prompted_images(method):
    images = F.normalize(RUN[f"{method}_image_features_raw_before"], dim=-1)
    raw = "VPT_vpt_text_features" if method == "VPT" else f"{method}_text_features_raw_before"
    found = SCALE * images @ F.normalize(RUN[raw], dim=-1).T
    torch.testing.assert_close(found, RUN[f"{method}_logits_before"], atol=1e-3, rtol=0)


def test_zero_shot_and_ensemble():
    for name in ("zero_shot", "ensemble"):
        found = SCALE * FEATURES["test_features"] @ F.normalize(RUN[name], dim=-1).T
        torch.testing.assert_close(found, RUN[f"{name}_logits"], atol=1e-3, rtol=0)


def test_first_step_of_kgcoop():
    method = on_recorded_text(KgCoOp, F.normalize(RUN["KgCoOp_text_features_raw_before"], dim=-1), W=2.0)
    method.anchor = F.normalize(RUN["KgCoOp_kg_text_features"], dim=-1)
    step = STEPS["KgCoOp"][0]
    logits, parts = method.training_step(batch_of(step))
    torch.testing.assert_close(logits, RUN["KgCoOp_train_logits"][0], atol=1e-3, rtol=0)
    assert parts["kg"].item() == pytest.approx(step["kg_weighted"], abs=1e-5)
    assert sum(parts.values()).item() == pytest.approx(step["loss"], rel=1e-4)


def test_first_step_of_biomed_coop():
    text = F.normalize(RUN["BiomedCoOp_text_features_raw_before"], dim=-1)
    method = on_recorded_text(BiomedCoOp, text, SCCM_LAMBDA=0.5, KDSP_LAMBDA=0.25)
    method.sentences = F.normalize(RUN["BiomedCoOp_fixed_embeddings"], dim=-1)
    method.teacher = F.normalize(method.sentences.mean(1), dim=-1)
    step = STEPS["BiomedCoOp"][0]
    _, parts = method.training_step(batch_of(step))
    for name in ("ce", "sccm", "kdsp"):
        assert parts[name].item() == pytest.approx(step[name], rel=1e-3), name
    assert sum(parts.values()).item() == pytest.approx(step["loss"], rel=1e-4)


def test_biomed_coop_selects_and_distils_as_recorded_in_every_step():
    sentences = F.normalize(RUN["BiomedCoOp_fixed_embeddings"], dim=-1)
    for logits, step in zip(RUN["BiomedCoOp_train_logits"], STEPS["BiomedCoOp"], strict=True):
        images = FEATURES["train_features"][step["batch"]]
        scores = (SCALE * torch.einsum("bd,cnd->bnc", images, sentences)).amax(2).mean(0)
        chosen = select(scores, 1.5)
        assert "".join(str(int(keep)) for keep in chosen) == step["prompt_mask"]
        teacher = F.normalize(sentences[:, chosen].mean(1), dim=-1)
        kdsp = 0.25 * kl_to_teacher(logits, SCALE * images @ teacher.T).item()
        assert kdsp == pytest.approx(step["kdsp"], rel=1e-3)


def test_first_step_of_prograd():
    step = STEPS["ProGrad"][0]
    teacher = SCALE * batch_of(step)["features"] @ F.normalize(RUN["zero_shot"], dim=-1).T
    kl = soft_cross_entropy(RUN["ProGrad_train_logits"][0], teacher, 2.0)
    assert kl.item() == pytest.approx(step["kl_loss"], rel=1e-4)
