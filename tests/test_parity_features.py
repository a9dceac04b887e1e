"""The feature-space methods against the official code's recorded numbers, on its recorded features.

Published settings, since it is the published code that was recorded (docs/REPRODUCTION.md). The features themselves are
compared in test_parity.py: CLIP-Adapter and zero-shot run there on the recorded images.
"""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from configs import Choice, build_cfg
from dassl.engine import TRAINER_REGISTRY
from trainers.method import Setup
from trainers.registry import METHOD_REGISTRY

DATA = Path(__file__).parent / "data"
RECORDED = {name: torch.from_numpy(value) for name, value in np.load(DATA / "parity_features.npz").items()}
ABOUT = json.loads((DATA / "parity_features.json").read_text())
LABELS, TEST_LABELS = torch.tensor(ABOUT["labels"]), torch.tensor(ABOUT["test_labels"])
BATCHES = 4  # of four images in each epoch


def recorded(name, order=tuple(range(16)), opts=()):
    """A method in its published variant on the recorded text features, and its configuration and data."""
    cfg = build_cfg(Choice(name, published=True, opts=[*map(str, opts)]))
    order = list(order)
    setup = Setup(
        backbone=SimpleNamespace(embed_dim=512, logit_scale=ABOUT["logit_scale"]),
        encoder=SimpleNamespace(sentences=lambda texts: RECORDED["text_weights"].T),
        classnames=["glioma tumor", "meningioma tumor", "normal brain", "pituitary tumor"],
        labels=LABELS[order],
        epochs=cfg.OPTIM.MAX_EPOCH,
        steps_per_epoch=BATCHES,
    )
    data = SimpleNamespace(
        training=lambda views: (RECORDED["train_features"][order], LABELS[order]),
        validation=lambda: (RECORDED["val_features"], LABELS),
    )
    return METHOD_REGISTRY.get(name)(setup, TRAINER_REGISTRY.get(name).parse_settings(cfg)), cfg, data


def train_on(method, cfg, data, batches):
    """Train on the recorded batches (epochs, batches, images); returns the losses."""
    optimizer, schedule = method.build_optimization(cfg.OPTIM)
    losses = []
    method.before_training(data)
    for epoch in range(method.epochs):
        method.before_epoch(epoch, optimizer)
        for chosen in batches[epoch]:
            _, parts = method.training_step({"features": RECORDED["train_features"][chosen], "label": LABELS[chosen]})
            optimizer.zero_grad()
            sum(parts.values()).backward()
            optimizer.step()
            losses.append(sum(parts.values()).item())
            if method.schedule_per_step:
                schedule.step()
        if not method.schedule_per_step:
            schedule.step()
        method.after_epoch(epoch)
    method.after_training(data)
    return losses


def logits_on_test_images(method):
    with torch.no_grad():
        return method.logits(RECORDED["test_features"])


def accuracy(logits):
    return 100 * (logits.argmax(1) == TEST_LABELS).double().mean().item()


def assert_chosen_and_tested(method, expected, recorded_logits):
    """The recorded α and β were chosen, and give the recorded logits."""
    assert method.cache.alpha.item() == pytest.approx(expected["best_alpha"], rel=1e-6)
    assert method.cache.beta.item() == pytest.approx(expected["best_beta"], rel=1e-6)
    logits = logits_on_test_images(method)
    torch.testing.assert_close(logits, RECORDED[recorded_logits], atol=1e-3, rtol=0)
    assert accuracy(logits) == expected["acc"]


def test_clip_adapter():
    expected = ABOUT["CLIPAdapter"]
    method, cfg, data = recorded("CLIPAdapter", opts=["OPTIM.MAX_EPOCH", 5])
    with torch.no_grad():
        method.adapter[0].weight.copy_(RECORDED["adapter_narrow"])
        method.adapter[2].weight.copy_(RECORDED["adapter_wide"])
    losses = train_on(method, cfg, data, torch.tensor(expected["batches"]).view(5, BATCHES, 4))
    np.testing.assert_allclose(losses, expected["loss"], rtol=1e-4)
    logits = logits_on_test_images(method)
    torch.testing.assert_close(logits, RECORDED["adapter_logits"], atol=1e-3, rtol=0)
    assert accuracy(logits) == expected["acc"]


def test_tip_adapter():
    method, _, data = recorded("TipAdapter")
    method.fit(data)
    assert_chosen_and_tested(method, ABOUT["TipAdapter"], "tip_logits")


def test_tip_adapter_f():
    """Ten trainings of five epochs, one after the other on the same keys; then the search."""
    expected = ABOUT["TipAdapterF"]
    method, cfg, data = recorded("TipAdapterF", expected["cache_order"], ["OPTIM.MAX_EPOCH", 5])
    losses = train_on(method, cfg, data, torch.tensor(expected["batches"]).view(50, BATCHES, 4))
    np.testing.assert_allclose(losses, expected["loss"], rtol=1e-4)
    torch.testing.assert_close(method.cache.keys.detach(), RECORDED["tipf_keys"], atol=1e-4, rtol=0)
    assert_chosen_and_tested(method, expected, "tipf_logits")


def test_linear_probe():
    """The strengths tried are the recorded ones; published, the better one of the last two is reported."""
    (method, _, data), expected = recorded("LinearProbe"), ABOUT["LinearProbe"]
    method.fit(data)
    np.testing.assert_allclose([c for c, _, _ in method.fits], expected["C_trace"], rtol=1e-9)
    np.testing.assert_allclose([score for _, score, _ in method.fits], expected["val_acc"], atol=1e-9)
    for (_, _, model), predicted in zip(method.fits, RECORDED["lp_test_pred"].numpy(), strict=True):
        # A weak regularisation leaves the optimum flat: two versions of a solver may end at different places of it.
        assert (model.predict(RECORDED["test_features"].numpy()) == predicted).mean() >= 0.95
    torch.testing.assert_close(method.linear.weight, RECORDED["lp_coef_last"][0], atol=1e-3, rtol=0)
    assert accuracy(logits_on_test_images(method)) == expected["acc"]


def test_lp_plus_plus(monkeypatch):
    (method, _, data), expected = recorded("LPpp", opts=["OPTIM.MAX_EPOCH", 20]), ABOUT["LPpp"]
    method.linear.bias.copy_(RECORDED["lpp_bias"])
    rates = []
    start = method.start
    monkeypatch.setattr(method, "start", lambda *args: rates.append(start(*args)) or rates[-1])
    seen = []
    logits = method.logits
    monkeypatch.setattr(method, "logits", lambda f: seen.append(method.alpha.tolist()) or logits(f))
    losses = method.fit(data)
    assert rates[0] == pytest.approx((expected["lr_w"], expected["lr_alpha"]), rel=1e-4)
    assert seen[0][0] == pytest.approx(expected["init_alpha"], rel=1e-5)
    np.testing.assert_allclose(seen[0::2], expected["alpha_per_epoch"], rtol=1e-3)  # before each step
    np.testing.assert_allclose(losses, expected["loss"], rtol=1e-4)
    assert accuracy(logits_on_test_images(method)) == expected["acc"]


def test_the_data_of_this_test_are_the_recorded_ones(shared):
    runs = shared / "golden" / "runs"
    recorded = np.load(runs / "LP2_20ep.npz")
    for name in ("text_weights", "train_features", "val_features", "test_features"):
        np.testing.assert_array_equal(RECORDED[name], recorded[name])
    assert json.loads((runs / "LP2_20ep.json").read_text())["alpha_per_epoch"] == ABOUT["LPpp"]["alpha_per_epoch"]
    steps = json.loads((runs / "TipAdapterF.json").read_text())["steps"]
    assert [step["loss"] for step in steps[:200]] == ABOUT["TipAdapterF"]["loss"]
    assert [step["labels"] for step in steps[:200]] == LABELS[torch.tensor(ABOUT["TipAdapterF"]["batches"])].tolist()
