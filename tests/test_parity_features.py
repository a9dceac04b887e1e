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
from dassl.data.datasets import Datum
from dassl.engine import TRAINER_REGISTRY, TrainerBase
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


def accuracy(logits):
    return 100 * (logits.argmax(1) == TEST_LABELS).double().mean().item()


def assert_chosen_and_tested(method, expected, recorded_logits):
    """The recorded α and β were chosen, and give the recorded logits."""
    assert method.learner.alpha.item() == pytest.approx(expected["best_alpha"], rel=1e-6)
    assert method.learner.beta.item() == pytest.approx(expected["best_beta"], rel=1e-6)
    logits = logits_on_test_images(method)
    torch.testing.assert_close(logits, RECORDED[recorded_logits], atol=1e-3, rtol=0)
    assert accuracy(logits) == expected["acc"]


def test_clip_adapter(recorded):
    expected = ABOUT["CLIPAdapter"]
    method = recorded("CLIPAdapter", opts=["OPTIM.MAX_EPOCH", 5])
    with torch.no_grad():
        method.learner[0].weight.copy_(RECORDED["adapter_narrow"])
        method.learner[2].weight.copy_(RECORDED["adapter_wide"])
    train_on(method, torch.tensor(expected["batches"]).view(5, BATCHES, 4))
    np.testing.assert_allclose([value for _, value in method.history["train/loss"]], expected["loss"], rtol=1e-4)
    logits = logits_on_test_images(method)
    torch.testing.assert_close(logits, RECORDED["adapter_logits"], atol=1e-3, rtol=0)
    assert accuracy(logits) == expected["acc"]


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


def test_linear_probe(recorded):
    """The strengths tried are the recorded ones; published, the better one of the last two is reported."""
    method, expected = recorded("LinearProbe"), ABOUT["LinearProbe"]
    method.fit()
    np.testing.assert_allclose([c for c, _, _ in method.fits], expected["C_trace"], rtol=1e-9)
    np.testing.assert_allclose([score for _, score, _ in method.fits], expected["val_acc"], atol=1e-9)
    for (_, _, model), predicted in zip(method.fits, RECORDED["lp_test_pred"].numpy(), strict=True):
        # A weak regularisation leaves the optimum flat: two versions of a solver may end at different places of it.
        assert (model.predict(RECORDED["test_features"].numpy()) == predicted).mean() >= 0.95
    torch.testing.assert_close(method.learner.weight, RECORDED["lp_coef_last"][0], atol=1e-3, rtol=0)
    assert accuracy(logits_on_test_images(method)) == expected["acc"]


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
