"""The official code's recorded numbers without its model: losses, teacher, optimiser and schedule of 20 steps.

Recorded from the officially published Biomed-DPT code on a small random-weight model (tests/data/parity_*); the
towers themselves are compared in test_parity.py (with the recorded weights) and in test_runs.py (Tiny against a
loop of a few lines).
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from dassl.config import get_cfg_default
from dassl.optim import build_lr_scheduler, build_optimizer
from trainers.losses import kl_to_teacher
from trainers.teacher import mean_feature, sentence_features

DATA = Path(__file__).parent / "data"
METHODS = ["coop", "biomeddpt"]


def recorded(method):
    run = {name: torch.from_numpy(value) for name, value in np.load(DATA / f"parity_{method}.npz").items()}
    return run, json.loads((DATA / f"parity_{method}.json").read_text())


@pytest.mark.parametrize("method", METHODS)
def test_optimizer_and_schedule_follow_the_recorded_trajectory(method):
    run, about = recorded(method)
    cfg = get_cfg_default().OPTIM
    cfg.update({"NAME": "sgd", "LR": 0.0025, "MAX_EPOCH": 5, "LR_SCHEDULER": "cosine"})
    cfg.update({"WARMUP_EPOCH": 1, "WARMUP_TYPE": "constant", "WARMUP_CONS_LR": 1e-5})
    context = torch.nn.Parameter(run["init_ctx"].clone())
    optimizer = build_optimizer([context], cfg)
    schedule = build_lr_scheduler(optimizer, cfg)
    for k, step in enumerate(about["steps"]):
        assert optimizer.param_groups[0]["lr"] == pytest.approx(step["lr"], rel=1e-6)
        context.grad = run["grad_ctx"][k].clone()
        optimizer.step()
        torch.testing.assert_close(context.detach(), run["traj_ctx"][k], atol=1e-6, rtol=1e-5)
        if k % 4 == 3:
            schedule.step()
    torch.testing.assert_close(context.detach(), run["final_ctx"], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_cross_entropy_and_kl_of_the_recorded_logits(method):
    run, about = recorded(method)
    for k, step in enumerate(about["steps"]):
        logits = run["train_logits"][k]
        assert F.cross_entropy(logits, torch.tensor(step["labels"])).item() == pytest.approx(step["ce"], rel=1e-4)
        if "kl_weighted" in step:
            kl = 0.25 * kl_to_teacher(logits, run["zs_log_probs"][k]).item()
            assert kl == pytest.approx(step["kl_weighted"], rel=1e-4)
            assert step["ce"] + step["l1_weighted"] + kl == pytest.approx(step["loss"], rel=1e-4)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("when", ["before", "after"])
def test_logits_are_scaled_cosines(method, when):
    run, about = recorded(method)
    image = F.normalize(run["image_features_raw_before"], dim=-1)
    text = F.normalize(run[f"text_features_raw_{when}"], dim=-1)
    torch.testing.assert_close(about["logit_scale"] * image @ text.T, run[f"logits_{when}"], atol=1e-3, rtol=0)


def test_first_step_of_biomed_dpt_with_the_recorded_teacher():
    run, about = recorded("biomeddpt")

    class Recorded:
        """Stands in for the encoder: the sentence features are the recorded ones."""

        def sentences(self, texts):
            return F.normalize(run["fixed_embeddings"].flatten(0, 1)[: len(texts)], dim=-1)

    teacher = mean_feature(sentence_features(Recorded(), [["sentence"] * 50] * 4))
    text = F.normalize(run["text_features_raw_before"], dim=-1)
    step = about["steps"][0]
    assert 12.5 * (text - teacher).abs().mean().item() == pytest.approx(step["l1_weighted"], rel=1e-4)
