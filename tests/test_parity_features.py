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
from sklearn.linear_model import LogisticRegression
from torch.nn import functional as F

from configs import Choice, build_cfg
from dassl.engine import TRAINER_REGISTRY
from tests.compare import assert_same_accuracy, assert_same_decisions
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
        backbone=SimpleNamespace(embed_dim=512, context_length=256, logit_scale=ABOUT["logit_scale"]),
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


def assert_recorded_logits(method, name):
    """The recorded logits of the test images, and the recorded class of each image."""
    logits = logits_on_test_images(method)
    torch.testing.assert_close(logits, RECORDED[name], atol=1e-3, rtol=0)
    assert_same_decisions(logits, RECORDED[name].argmax(1), 2e-3)


def assert_chosen_and_tested(method, expected, recorded_logits):
    """The recorded α and β were chosen, and give the recorded logits."""
    assert method.cache.alpha.item() == pytest.approx(expected["best_alpha"], rel=1e-6)
    assert method.cache.beta.item() == pytest.approx(expected["best_beta"], rel=1e-6)
    assert_recorded_logits(method, recorded_logits)


@pytest.mark.parametrize(
    ("method", "logits"), [("TipAdapter", "tip"), ("TipAdapterF", "tipf"), ("CLIPAdapter", "adapter")]
)
def test_the_recorded_logits_have_the_recorded_accuracy(method, logits):
    correct = RECORDED[f"{logits}_logits"].argmax(1) == TEST_LABELS
    assert 100 * correct.double().mean().item() == ABOUT[method]["acc"]


def test_clip_adapter():
    expected = ABOUT["CLIPAdapter"]
    method, cfg, data = recorded("CLIPAdapter", opts=["OPTIM.MAX_EPOCH", 5])
    with torch.no_grad():
        method.adapter[0].weight.copy_(RECORDED["adapter_narrow"])
        method.adapter[2].weight.copy_(RECORDED["adapter_wide"])
    losses = train_on(method, cfg, data, torch.tensor(expected["batches"]).view(5, BATCHES, 4))
    np.testing.assert_allclose(losses, expected["loss"], rtol=1e-4)
    assert_recorded_logits(method, "adapter_logits")


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


def objective(model, strength):
    """The loss that a linear probe minimises, per training image."""
    weight, bias = torch.from_numpy(model.coef_).double(), torch.from_numpy(model.intercept_).double()
    logits = RECORDED["train_features"].double() @ weight.T + bias
    return (F.cross_entropy(logits, LABELS) + weight.square().sum() / (2 * strength * len(LABELS))).item()


def test_linear_probe(monkeypatch):
    """The search on the recorded scores tries the recorded strengths; each fit is compared in what its data determine.

    L-BFGS stops where the gradient is small, and rounding has a say in where that is. A weak regularisation (C > 100)
    separates the classes, so that the optimum is flat: the loss is determined, the weights are not. A strong one
    (C < 0.1) leaves the weights near zero and the logits nearly equal. Predictions are compared between the two.
    """
    (method, _, data), expected = recorded("LinearProbe"), ABOUT["LinearProbe"]
    regression, scores = method._regression, iter(expected["val_acc"])

    def with_recorded_score(strength):
        model = regression(strength)
        model.score = lambda features, _: next(scores) if np.array_equal(features, RECORDED["val_features"]) else None
        return model

    monkeypatch.setattr(method, "_regression", with_recorded_score)
    method.fit(data)
    np.testing.assert_allclose([c for c, _, _ in method.fits], expected["C_trace"], rtol=1e-9)
    x, images = RECORDED["train_features"].double(), torch.cat([RECORDED["val_features"], RECORDED["test_features"]])
    predicted = torch.cat([RECORDED["lp_val_pred"], RECORDED["lp_test_pred"]], dim=1)
    for (c, _, model), classes in zip(method.fits, predicted, strict=True):
        exact = LogisticRegression(C=c, solver="newton-cg", tol=1e-10, max_iter=10_000).fit(x, LABELS)
        optimum = objective(exact, c)
        assert objective(model, c) - optimum < 0.03 * (np.log(4) - optimum) + 1e-6  # log 4 is the loss without weights
        if 0.1 <= c <= 100:
            logits = torch.from_numpy(model.decision_function(images.numpy()))
            spread = (logits - logits.mean(1, keepdim=True)).abs().max()
            assert_same_decisions(logits, classes, 0.01 * spread)
    weights = RECORDED["lp_coef_last"][0]
    torch.testing.assert_close(method.linear.weight, weights, atol=1e-4 * weights.abs().max().item(), rtol=0)
    assert_same_accuracy(logits_on_test_images(method), TEST_LABELS, expected["acc"], 1e-5)


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
    assert_same_accuracy(logits_on_test_images(method), TEST_LABELS, expected["acc"], 2e-3)


def test_the_data_of_this_test_are_the_recorded_ones(shared):
    runs = shared / "golden" / "runs"
    recorded = np.load(runs / "LP2_20ep.npz")
    for name in ("text_weights", "train_features", "val_features", "test_features"):
        np.testing.assert_array_equal(RECORDED[name], recorded[name])
    assert json.loads((runs / "LP2_20ep.json").read_text())["alpha_per_epoch"] == ABOUT["LPpp"]["alpha_per_epoch"]
    steps = json.loads((runs / "TipAdapterF.json").read_text())["steps"]
    assert [step["loss"] for step in steps[:200]] == ABOUT["TipAdapterF"]["loss"]
    assert [step["labels"] for step in steps[:200]] == LABELS[torch.tensor(ABOUT["TipAdapterF"]["batches"])].tolist()
