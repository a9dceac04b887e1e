"""Losses and metrics against cases computed by hand or in a few lines of NumPy."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score
from torch.nn import functional as F

from dassl.config import get_cfg_default
from dassl.evaluation import build_evaluator
from dassl.evaluation.metrics import classification_metrics
from dassl.metrics import compute_accuracy
from trainers.losses import kl_to_teacher


def test_kl_by_hand():
    teacher = torch.log(torch.tensor([[0.5, 0.5], [0.75, 0.25]]))
    student = torch.log(torch.tensor([[0.5, 0.5], [0.5, 0.5]]))
    expected = (0.75 * math.log(1.5) + 0.25 * math.log(0.5)) / 4  # summed, then over batch and classes
    assert kl_to_teacher(student, teacher).item() == pytest.approx(expected, rel=1e-6)


def test_biomed_dpt_loss_against_numpy(build):
    trainer = build("BiomedDPT", opts=["TRAINER.BIOMEDDPT.L1_LAMBDA", 3.0, "TRAINER.BIOMEDDPT.KL_LAMBDA", 2.0])
    rng = np.random.default_rng(0)
    classes, width = trainer.method.teacher.shape

    def unit(*shape):
        rows = rng.normal(size=shape)
        return rows / np.linalg.norm(rows, axis=-1, keepdims=True)

    images, text, teacher, labels = unit(4, width), unit(classes, width), unit(classes, width), np.array([0, 3, 3, 7])
    trainer.method.text_features = lambda: torch.tensor(text)
    trainer.method.teacher = torch.tensor(teacher)
    logits, parts = trainer.method.training_step({"features": torch.tensor(images), "label": torch.tensor(labels)})

    def log_softmax(z):
        return z - np.log(np.exp(z - z.max(1, keepdims=True)).sum(1, keepdims=True)) - z.max(1, keepdims=True)

    scale = trainer.backbone.logit_scale
    log_p, log_q = log_softmax(scale * images @ text.T), log_softmax(scale * images @ teacher.T)
    assert parts["ce"].item() == pytest.approx(-log_p[np.arange(4), labels].mean(), rel=1e-6)
    assert parts["l1"].item() == pytest.approx(3.0 * np.abs(text - teacher).mean(), rel=1e-6)
    assert parts["kl"].item() == pytest.approx(2.0 * (np.exp(log_q) * (log_q - log_p)).mean(), rel=1e-6)
    np.testing.assert_allclose(logits, scale * images @ text.T, rtol=1e-6)


def test_teacher_is_the_mean_of_sentence_features(build):
    trainer = build("BiomedDPT", opts=["TRAINER.BIOMEDDPT.N_PROMPTS", 3])
    name = trainer.method.classnames[2]
    rows = [trainer.backbone.encode_sentences([s])[0].numpy() for s in trainer.method.prompts[name][:3]]
    mean = sum(row / np.linalg.norm(row) for row in rows) / 3
    np.testing.assert_allclose(trainer.method.teacher[2], mean / np.linalg.norm(mean), atol=1e-5)


def test_zero_shot_logits_by_hand(build):
    trainer = build("ZeroShot")
    pixels = torch.stack([trainer.test_loader.dataset[k]["img"] for k in (0, 20)])
    with torch.no_grad():
        image = trainer.backbone.model.visual(pixels)
        tokens = trainer.backbone.tokenize([f"a photo of a {name}." for name in trainer.method.classnames])
        text = trainer.backbone.model.text(tokens.ids)
        image, text = F.normalize(image, dim=-1), F.normalize(text, dim=-1)
        expected = trainer.backbone.model.logit_scale.exp() * image @ text.T
        torch.testing.assert_close(trainer.method.logits(trainer.method.encode_images(pixels)), expected)


def test_metrics_by_hand():
    probabilities = torch.tensor([[0.6, 0.4], [0.9, 0.1], [0.3, 0.7], [0.8, 0.2]], dtype=torch.float64)
    labels = torch.tensor([0, 0, 1, 1])
    metrics = classification_metrics(probabilities.log(), labels, {0: "ill", 1: "well"})
    assert metrics["total"] == 4
    assert metrics["correct"] == 3
    assert metrics["accuracy"] == 75
    assert metrics["sensitivity"] == {"ill": 100, "well": 50}
    # class 0: precision 2/3, recall 1; class 1: precision 1, recall 1/2
    assert metrics["macro_f1"] == pytest.approx(100 * (0.8 + 2 / 3) / 2)
    # of the four (ill, well) pairs the score of "well" orders three rightly
    assert metrics["auroc"] == pytest.approx(75)
    # four bins of one image each: |1 − 0.6|, |1 − 0.9|, |1 − 0.7|, |0 − 0.8|, each with weight 1/4
    assert metrics["ece"] == pytest.approx(100 * (0.4 + 0.1 + 0.3 + 0.8) / 4, abs=1e-4)


def test_metrics_where_they_are_undefined():
    one = classification_metrics(torch.tensor([[1.0], [2.0]]), torch.tensor([0, 0]))
    assert one["accuracy"] == 100
    assert one["auroc"] is None
    absent = classification_metrics(torch.tensor([[2.0, 0.0, 1.0]]), torch.tensor([0]))
    assert absent["auroc"] is None
    assert absent["macro_f1"] == 100


def test_evaluator_prints_as_dassl_does(capsys):
    cfg = get_cfg_default()
    evaluator = build_evaluator(cfg, lab2cname={0: "a", 1: "b", 2: "c"})
    generator = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(30, 3, generator=generator), torch.randint(3, (30,), generator=generator)
    for part in (slice(0, 20), slice(20, 30)):
        evaluator.process(logits[part], labels[part])
    results = evaluator.evaluate()
    accuracy = 100 * (logits.argmax(1) == labels).double().mean().item()
    assert list(results) == ["accuracy", "error_rate", "macro_f1"]
    assert results["accuracy"] == pytest.approx(accuracy)
    assert results["macro_f1"] == pytest.approx(
        100 * f1_score(labels.numpy(), logits.argmax(1).numpy(), average="macro")
    )
    printed = capsys.readouterr().out
    assert f"* accuracy: {accuracy:.1f}%" in printed
    assert "* total: 30" in printed


def test_top_k_accuracy():
    output = torch.tensor([[0.1, 0.5, 0.4], [0.8, 0.15, 0.05]])
    top1, top2 = compute_accuracy(output, torch.tensor([2, 0]), topk=(1, 2))
    assert (top1.item(), top2.item()) == (50, 100)
