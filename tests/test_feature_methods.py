"""What adapters, probes and low-rank changes compute, against cases by hand or a few independent lines."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from clip import Backbone
from tests.compare import on_the_edge
from trainers.linearprobe import bracket, narrow
from trainers.lora import LoRA
from trainers.tipadapter import Cache


def test_ensemble_is_the_normalised_mean_of_normalised_sentences(build):
    trainer = build("ZeroShotEnsemble", opts=["TRAINER.ZEROSHOTENSEMBLE.N_PROMPTS", 3])
    for name, found in zip(trainer.method.classnames, trainer.method.text_features(), strict=True):
        features = F.normalize(trainer.backbone.encode_sentences(trainer.method.prompts[name][:3]), dim=-1)
        torch.testing.assert_close(found, F.normalize(features.mean(0), dim=0), atol=1e-6, rtol=1e-5)
    same = build("ZeroShot", opts=["TRAINER.ZEROSHOT.TEXT", "ensemble", "TRAINER.ZEROSHOT.N_PROMPTS", 3])
    assert torch.equal(same.method.text_features(), trainer.method.text_features())


def test_clip_adapter_formula(build):
    trainer = build("CLIPAdapter", opts=["TRAINER.CLIPADAPTER.RATIO", 0.2])
    features = F.normalize(torch.randn(3, trainer.backbone.embed_dim, generator=torch.manual_seed(0)), dim=-1)
    narrow_weight, wide_weight = (p.detach() for p in trainer.method.parameters())
    assert narrow_weight.shape == (trainer.backbone.embed_dim // 4, trainer.backbone.embed_dim)
    adapted = ((features @ narrow_weight.T).clamp(min=0) @ wide_weight.T).clamp(min=0)
    expected = trainer.backbone.logit_scale * (0.2 * adapted + 0.8 * features) @ trainer.method.text_features().T
    torch.testing.assert_close(trainer.method.logits(features).detach(), expected, atol=1e-5, rtol=1e-5)


def test_cache_by_hand():
    cache = Cache(torch.tensor([0, 1, 1]), classes=2, width=2, learnable=False)
    cache.keys.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]]))
    cache.alpha.fill_(2.0)
    cache.beta.fill_(3.0)
    found = cache(torch.tensor([[1.0, 0.0]]))[0].tolist()
    # similarities 1, 0 and 0.6
    assert found == pytest.approx([2.0, 2 * (math.exp(-3) + math.exp(-1.2))], rel=1e-6)


def test_tip_adapter_keys_and_search(build):
    trainer = build("TipAdapter", shots=2, opts=["TRAINER.TIPADAPTER.SEARCH_STEPS", 20])
    trainer.train()
    images, cache = trainer.train_loader_x.dataset, trainer.method.cache
    with torch.no_grad():
        pixels = torch.stack([images.load(k, 0)["img"] for k in range(len(images))])
        features = F.normalize(trainer.backbone.encode_image(pixels), dim=-1)
    torch.testing.assert_close(cache.keys, features, atol=1e-5, rtol=1e-4)
    validation, labels = trainer.features.validation()
    grid = [k * (50 - 0.1) / 20 + 0.1 for k in range(20)]
    least, most = {}, {}  # correct images without and with those on which rounding decides
    zero_shot = trainer.backbone.logit_scale * validation @ trainer.method.text_features().T
    for beta in grid:
        for alpha in grid:
            logits = zero_shot + alpha * torch.exp(-beta * (1 - validation @ cache.keys.T)) @ cache.values
            right, edge = logits.argmax(1) == labels, on_the_edge(logits, 1e-3)
            least[beta, alpha] = (right & ~edge).sum().item()
            most[beta, alpha] = (right | edge).sum().item()
    found = cache.beta.item(), cache.alpha.item()
    (chosen,) = [pair for pair in least if pair == pytest.approx(found, rel=1e-6)]
    assert most[chosen] >= max(least.values())
    earlier = list(least)[: list(least).index(chosen)]
    assert all(least[pair] < most[chosen] for pair in earlier)  # of equally good pairs the first


def test_tip_adapter_f_starts_from_the_training_features(build):
    trainer = build("TipAdapterF", shots=2, opts=["OPTIM.MAX_EPOCH", 3, "TRAINER.TIPADAPTERF.SEARCH_STEPS", 3])
    features, _ = trainer.features.training(1)
    starts = []
    step = trainer.forward
    trainer.forward = lambda batch: (starts.append(trainer.method.cache.keys.detach().clone()), step(batch))[1]
    trainer.train()
    torch.testing.assert_close(starts[0], features)
    assert 0 < (trainer.method.cache.keys.detach() - features).abs().max() < 0.02
    rates = [0.001 * 0.5 * (1 + math.cos(math.pi * k / 3)) for k in range(3)]
    assert trainer.sched.base_lrs == [0.001]
    assert [trainer.sched.lr_lambdas[0](k) * 0.001 for k in range(3)] == pytest.approx(rates)


def test_probe_search_by_hand():
    assert bracket((100.0, 1.0, 0.01), [0.2, 0.5, 0.5]) == (0.1, 10.0)
    assert narrow(0.1, 10.0, 0.5, 0.4) == (0.1, 1.0)
    assert narrow(0.1, 10.0, 0.4, 0.5) == (1.0, 10.0)
    assert narrow(0.1, 10.0, 0.5, 0.5) == (0.1, 1.0)


def test_linear_probe_keeps_the_best_on_validation(build):
    trainer = build("LinearProbe", shots=2, opts=["TRAINER.LINEARPROBE.SEARCH_STEPS", 2])
    trainer.train()
    assert len(trainer.method.fits) == 7 + 2 * 2
    best = max(trainer.method.fits, key=lambda fit: fit.accuracy)
    np.testing.assert_allclose(trainer.method.linear.weight, best.model.coef_, rtol=1e-6)
    np.testing.assert_allclose(trainer.method.linear.bias, best.model.intercept_, rtol=1e-6)


def test_linear_probe_of_two_classes(build):
    opts = ["DATASET.SUBSAMPLE_CLASSES", "base", "TRAINER.LINEARPROBE.SEARCH_STEPS", 0]
    trainer = build("LinearProbe", shots=2, opts=opts)
    from sklearn.linear_model import LogisticRegression

    x = np.random.default_rng(0).normal(size=(12, trainer.backbone.embed_dim)).astype("float32")
    model = LogisticRegression(max_iter=1000).fit(x, np.arange(12) % 2)
    trainer.method.linear = torch.nn.Linear(trainer.backbone.embed_dim, 2).requires_grad_(False)
    trainer.method._take(model)
    np.testing.assert_allclose(trainer.method.logits(torch.tensor(x)).softmax(1), model.predict_proba(x), atol=1e-5)


def test_lp_plus_plus_by_hand(build):
    """The start, and a step of W and of α in double precision."""
    trainer = build("LPpp", shots=2, opts=["OPTIM.MAX_EPOCH", 1, "TRAINER.LPPP.ALPHA_EVERY", 1])
    (features, labels), text = trainer.features.training(1), trainer.method.text_features().double().numpy()
    f, y = features.double().numpy(), labels.numpy()
    classes = len(text)
    w = np.stack([f[y == c].sum(0) for c in range(classes)])
    alpha = np.full(classes, 250 * np.mean([(f[y == c] @ text[c]).mean() for c in range(classes)]))
    rate = 4 * len(f) / np.linalg.eigvalsh(f.T @ f).max()
    alpha_rate = len(f) / (4 * ((f @ text.T) ** 2).sum(0).max())
    logits = f @ w.T + alpha * (f @ text.T)
    p = np.exp(logits - logits.max(1, keepdims=True))
    error = (p / p.sum(1, keepdims=True) - np.eye(classes)[y]) / len(f)
    trainer.train()
    expected_w = w - rate * error.T @ f
    expected_alpha = alpha - alpha_rate * (error * (f @ text.T)).sum(0)
    np.testing.assert_allclose(trainer.method.linear.weight, expected_w, atol=1e-4)
    np.testing.assert_allclose(trainer.method.alpha, expected_alpha, rtol=1e-4)
    assert trainer.method.linear.bias is None


def test_lora_adds_low_rank_rows_by_hand():
    layer = torch.nn.Linear(3, 6)
    lora = LoRA(Backbone(), [(layer, slice(0, 2)), (layer, slice(4, 6))], rank=1, scale=0.5, dropout=0.0)
    x, plain = torch.randn(4, 3), layer(torch.zeros(1, 3))
    with lora.applied():
        torch.testing.assert_close(layer(x), F.linear(x, layer.weight, layer.bias))  # B starts from zeros
        with torch.no_grad():
            for k in (0, 1):
                lora.down[k].fill_(1.0)
                lora.up[k].copy_(torch.tensor([[1.0], [2.0 + k]]))
        found = layer(torch.ones(1, 3)) - F.linear(torch.ones(1, 3), layer.weight, layer.bias)
    # A x = 3, times B = (1, 2) and (1, 3), times 0.5
    torch.testing.assert_close(found, torch.tensor([[1.5, 3.0, 0.0, 0.0, 1.5, 4.5]]))
    torch.testing.assert_close(layer(torch.zeros(1, 3)), plain)
    torch.testing.assert_close(layer(torch.ones(1, 3)), F.linear(torch.ones(1, 3), layer.weight, layer.bias))


def test_clip_lora_equals_a_model_with_merged_weights(build, tiny):
    """Additions of hooks are those of W + α/√r · B A in every attention layer of both towers."""
    trainer = build("CLIPLoRA", opts=["TRAINER.CLIPLORA.ITERATIONS_PER_SHOT", 0, "TRAINER.CLIPLORA.PARAMS", "qv"])
    generator = torch.manual_seed(1)
    with torch.no_grad():
        for up in trainer.method.lora.up:
            up.copy_(0.2 * torch.randn(up.shape, generator=generator))
    from copy import deepcopy

    merged = deepcopy(trainer.backbone)
    blocks = [b for tower in ("text", "image") for b in merged.attention_projections(tower)]
    chosen = [block[name] for block in blocks for name in "qv"]
    with torch.no_grad():
        for (layer, rows), down, up in zip(chosen, trainer.method.lora.down, trainer.method.lora.up, strict=True):
            layer.weight[rows] += up @ down / math.sqrt(2)
        pixels = torch.randn(2, 3, merged.image_size, merged.image_size, generator=generator)
        trainer.set_model_mode("eval")
        with trainer.method.adapted():
            images = trainer.method.encode_images(pixels)
            text = trainer.method.text_features()
        torch.testing.assert_close(images, F.normalize(merged.encode_image(pixels), dim=-1), atol=1e-5, rtol=1e-4)
        names = [f"a photo of a {name}." for name in trainer.method.classnames]
        torch.testing.assert_close(text, F.normalize(merged.encode_sentences(names), dim=-1), atol=1e-5, rtol=1e-4)
        assert not torch.allclose(images, F.normalize(tiny.encode_image(pixels), dim=-1), atol=1e-3)


def test_clip_lora_schedule(build):
    trainer = build("CLIPLoRA", shots=2, opts=["TRAINER.CLIPLORA.ITERATIONS_PER_SHOT", 10])
    # 16 images are one batch of 32: 20 steps in 20 epochs
    assert trainer.max_epoch == 20
    assert trainer.optim.param_groups[0]["weight_decay"] == 0.01
    rates = []
    for _ in range(20):
        rates.append(trainer.get_current_lr())
        trainer.optim.step()
        trainer.sched.step()
    expected = [1e-6 + (2e-4 - 1e-6) * 0.5 * (1 + math.cos(math.pi * k / 20)) for k in range(20)]
    assert rates == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("encoder", ["text", "image"])
def test_clip_lora_of_one_tower_leaves_the_other_frozen(build, encoder):
    opts = ["TRAINER.CLIPLORA.ITERATIONS_PER_SHOT", 0, "TRAINER.CLIPLORA.ENCODER", encoder, "OPTIM.MAX_EPOCH", 2]
    trainer = build("CLIPLoRA", shots=1, opts=opts)
    blocks = trainer.backbone.attention_projections(encoder)
    assert len(trainer.method.lora.down) == 3 * len(blocks)
    assert (trainer.stream is not None) == (encoder == "text")
    trainer.train()
    assert all(up.abs().sum() > 0 for up in trainer.method.lora.up)


@pytest.mark.parametrize("method", ["TipAdapter", "TipAdapterF", "LinearProbe", "LPpp", "CLIPAdapter"])
def test_choices_never_see_the_test_split(build, method):
    """The test images are encoded once, after everything was learned and chosen."""
    opts = ["OPTIM.MAX_EPOCH", 2]
    opts += [f"TRAINER.{method.upper()}.SEARCH_STEPS", 3] if method.startswith(("Tip", "Linear")) else []
    trainer = build(method, shots=2, opts=opts)
    test, validation = ({item.impath for item in part} for part in (trainer.dm.dataset.test, trainer.dm.dataset.val))
    asked, learned = [], []
    images, save = trainer.encoder.images, trainer.save_model
    trainer.encoder.images = lambda items, *args, **words: (
        asked.append({item.impath for item in items}) or images(items, *args, **words)
    )
    trainer.save_model = lambda *args, **words: learned.append(len(asked)) or save(*args, **words)
    trainer.train()
    assert asked[-1] == test
    assert all(paths == validation for paths in asked[:-1])
    assert learned[-1] == len(asked) - 1
    assert not test & validation
