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
from dassl.data.datasets import Datum
from dassl.engine import TRAINER_REGISTRY, TrainerBase
from tests.compare import assert_same_accuracy, assert_same_decisions
from trainers.precision import Precision

DATA = Path(__file__).parent / "data"
RECORDED = {name: torch.from_numpy(value) for name, value in np.load(DATA / "parity_features.npz").items()}
ABOUT = json.loads((DATA / "parity_features.json").read_text())
LABELS, TEST_LABELS = torch.tensor(ABOUT["labels"]), torch.tensor(ABOUT["test_labels"])
BATCHES = 4  # of four images in each epoch


class Loader:
    """Stands in for the loader of the training images."""

    batch_size, drop_last, sampler = 4, True, None

    def __init__(self, labels):
        self.dataset = SimpleNamespace(data_source=[Datum(label=label) for label in labels])

    def __len__(self):
        return BATCHES


@pytest.fixture
def recorded(tmp_path):
    """Builds a method whose features, texts and batches are the recorded ones."""

    def _recorded(name, order=tuple(range(16)), opts=()):
        cls = TRAINER_REGISTRY.get(name)
        method = cls.__new__(cls)
        TrainerBase.__init__(method)
        opts = ["TEST.NO_TEST", "True", *map(str, opts)]
        method.cfg = build_cfg(Choice(name, published=True, opts=opts))
        method.device, method.output_dir = torch.device("cpu"), str(tmp_path)
        method.max_epoch, method.best_result = method.cfg.OPTIM.MAX_EPOCH, 0.0
        method.precision = Precision("fp32", method.device)
        method.classnames = ["glioma tumor", "meningioma tumor", "normal brain", "pituitary tumor"]
        method.backbone = SimpleNamespace(
            name="recorded", embed_dim=512, logit_scale=ABOUT["logit_scale"], set_text_dropout=lambda on: None
        )
        order = list(order)
        method.train_loader_x = Loader(LABELS[order].tolist())
        method.training_features = lambda: (RECORDED["train_features"][order], LABELS[order])
        method.validation_features = lambda: (RECORDED["val_features"], LABELS)
        method._text = RECORDED["text_weights"].T
        method.learner = method.build_prompts()
        return method

    return _recorded


def train_on(method, batches):
    """Train on the recorded batches (epochs, batches, images)."""
    method.optim, method.sched = method.build_optimization()
    method.register_model("prompt_learner", method.learner, method.optim, method.sched)
    method.epoch_batches = lambda: [
        {"features": RECORDED["train_features"][chosen], "label": LABELS[chosen]} for chosen in batches[method.epoch]
    ]
    method.train()


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
    assert method.learner.alpha.item() == pytest.approx(expected["best_alpha"], rel=1e-6)
    assert method.learner.beta.item() == pytest.approx(expected["best_beta"], rel=1e-6)
    assert_recorded_logits(method, recorded_logits)


@pytest.mark.parametrize(
    ("method", "logits"), [("TipAdapter", "tip"), ("TipAdapterF", "tipf"), ("CLIPAdapter", "adapter")]
)
def test_the_recorded_logits_have_the_recorded_accuracy(method, logits):
    correct = RECORDED[f"{logits}_logits"].argmax(1) == TEST_LABELS
    assert 100 * correct.double().mean().item() == ABOUT[method]["acc"]


def test_clip_adapter(recorded):
    expected = ABOUT["CLIPAdapter"]
    method = recorded("CLIPAdapter", opts=["OPTIM.MAX_EPOCH", 5])
    with torch.no_grad():
        method.learner[0].weight.copy_(RECORDED["adapter_narrow"])
        method.learner[2].weight.copy_(RECORDED["adapter_wide"])
    train_on(method, torch.tensor(expected["batches"]).view(5, BATCHES, 4))
    np.testing.assert_allclose([value for _, value in method.history["train/loss"]], expected["loss"], rtol=1e-4)
    assert_recorded_logits(method, "adapter_logits")


def test_tip_adapter(recorded):
    method, expected = recorded("TipAdapter"), ABOUT["TipAdapter"]
    method.fit()
    assert_chosen_and_tested(method, expected, "tip_logits")


def test_tip_adapter_f(recorded, monkeypatch):
    """Ten trainings of five epochs, one after the other on the same keys; then the search."""
    expected = ABOUT["TipAdapterF"]
    method = recorded("TipAdapterF", expected["cache_order"], ["OPTIM.MAX_EPOCH", 5])
    train_on(method, torch.tensor(expected["batches"]).view(50, BATCHES, 4))
    losses = [value for _, value in method.history["train/loss"]]
    np.testing.assert_allclose(losses, expected["loss"], rtol=1e-4)
    torch.testing.assert_close(method.learner.keys.detach(), RECORDED["tipf_keys"], atol=1e-4, rtol=0)
    assert_chosen_and_tested(method, expected, "tipf_logits")


def objective(model, strength):
    """The loss that a linear probe minimises, per training image."""
    weight, bias = torch.from_numpy(model.coef_).double(), torch.from_numpy(model.intercept_).double()
    logits = RECORDED["train_features"].double() @ weight.T + bias
    return (F.cross_entropy(logits, LABELS) + weight.square().sum() / (2 * strength * len(LABELS))).item()


def test_linear_probe(recorded, monkeypatch):
    """The search on the recorded scores tries the recorded strengths; each fit is compared in what its data determine.

    L-BFGS stops where the gradient is small, and rounding has a say in where that is. A weak regularisation (C > 100)
    separates the classes, so that the optimum is flat: the loss is determined, the weights are not. A strong one
    (C < 0.1) leaves the weights near zero and the logits nearly equal. Predictions are compared between the two.
    """
    method, expected = recorded("LinearProbe"), ABOUT["LinearProbe"]
    regression, scores = method._regression, iter(expected["val_acc"])

    def with_recorded_score(strength):
        model = regression(strength)
        model.score = lambda features, _: next(scores) if np.array_equal(features, RECORDED["val_features"]) else None
        return model

    monkeypatch.setattr(method, "_regression", with_recorded_score)
    method.fit()
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
    torch.testing.assert_close(method.learner.weight, weights, atol=1e-4 * weights.abs().max().item(), rtol=0)
    assert_same_accuracy(logits_on_test_images(method), TEST_LABELS, expected["acc"], 1e-5)


def test_lp_plus_plus(recorded, monkeypatch):
    method, expected = recorded("LPpp", opts=["OPTIM.MAX_EPOCH", 20]), ABOUT["LPpp"]
    method.learner.bias.copy_(RECORDED["lpp_bias"])
    rates = []
    start = method.start
    monkeypatch.setattr(method, "start", lambda *args: rates.append(start(*args)) or rates[-1])
    seen = []
    logits = method.logits
    monkeypatch.setattr(method, "logits", lambda f: seen.append(method.learner.alpha.tolist()) or logits(f))
    method.fit()
    assert rates[0] == pytest.approx((expected["lr_w"], expected["lr_alpha"]), rel=1e-4)
    assert seen[0][0] == pytest.approx(expected["init_alpha"], rel=1e-5)
    np.testing.assert_allclose(seen[0::2], expected["alpha_per_epoch"], rtol=1e-3)  # before each step
    losses = [value for _, value in method.history["train/loss"]]
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
