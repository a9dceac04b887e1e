"""What each prompt learner computes, against cases by hand or a few independent lines."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from trainers import cocoop
from trainers.biomedcoop import select
from trainers.losses import soft_cross_entropy
from trainers.prograd import project
from trainers.promptsrc import Average, gauss

FEW = ["OPTIM.MAX_EPOCH", 2, "DATALOADER.TRAIN_X.BATCH_SIZE", 4]


def unit(*shape, seed=0):
    rows = np.random.default_rng(seed).normal(size=shape)
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def given(trainer, images=4, classes=8):
    """Text and image features in place of the towers'; returns both and a batch."""
    width = trainer.backbone.embed_dim
    text, image = unit(classes, width, seed=1), unit(images, width, seed=2)
    trainer.method.text_features = lambda: torch.tensor(text)
    labels = np.arange(images) % classes
    return text, image, {"features": torch.tensor(image), "label": torch.tensor(labels)}, labels


def log_softmax(z):
    z = z - z.max(-1, keepdims=True)
    return z - np.log(np.exp(z).sum(-1, keepdims=True))


def cross_entropy(logits, labels):
    return -log_softmax(logits)[np.arange(len(labels)), labels].mean()


def test_kgcoop_loss(build):
    trainer = build("KgCoOp", opts=["TRAINER.KGCOOP.W", 3.0])
    text, image, batch, labels = given(trainer)
    trainer.method.anchor = torch.tensor(unit(8, text.shape[1], seed=3))
    logits, parts = trainer.method.training_step(batch)
    expected = trainer.backbone.logit_scale * image @ text.T
    np.testing.assert_allclose(logits, expected, rtol=1e-6)
    assert parts["ce"].item() == pytest.approx(cross_entropy(expected, labels), rel=1e-6)
    assert parts["kg"].item() == pytest.approx(3 * (1 - (text * trainer.method.anchor.numpy()).sum(1).mean()), rel=1e-6)


def test_kgcoop_starts_at_its_anchor(build):
    """Context and template are the same words: nothing to pull at in the first step."""
    trainer = build("KgCoOp")
    _, parts = trainer.method.losses(torch.eye(2, trainer.backbone.embed_dim), torch.tensor([0, 1]))
    assert parts["kg"].item() == pytest.approx(0, abs=1e-5)


def test_soft_cross_entropy_by_hand():
    teacher, student = torch.tensor([[0.0, 2 * math.log(3)]]), torch.zeros(1, 2)
    # At temperature 2 the teacher says (1/4, 3/4), the student (1/2, 1/2): log 2, times 2².
    assert soft_cross_entropy(student, teacher, 2.0).item() == pytest.approx(4 * math.log(2), rel=1e-6)


@pytest.mark.parametrize(
    ("gradient", "general", "weight", "expected"),
    [
        ([1.0, 0.0], [1.0, 1.0], 1.0, [1.0, 0.0]),  # they agree
        ([1.0, 0.0], [-1.0, 1.0], 1.0, [0.5, 0.5]),  # what goes against it is taken away
        ([1.0, 0.0], [-1.0, 1.0], 0.5, [0.75, 0.25]),
        ([1.0, 2.0], [0.0, 0.0], 1.0, [1.0, 2.0]),
    ],
)
def test_prograd_projection_by_hand(gradient, general, weight, expected):
    found = project(torch.tensor(gradient), torch.tensor(general), weight)
    torch.testing.assert_close(found, torch.tensor(expected))


@pytest.mark.parametrize("teacher", ["zeroshot", "self"])
def test_prograd_steps_along_the_projected_gradient(build, teacher):
    trainer = build("ProGrad", shots=2, opts=["TRAINER.PROGRAD.TEACHER", teacher, "TRAINER.PROGRAD.T", 2.0])
    with torch.no_grad():
        context = trainer.method.context.ctx
        context.add_(0.05 * torch.randn(context.shape, generator=torch.manual_seed(0)))
    trainer.epoch = 0
    batch = next(iter(trainer.epoch_batches()))
    _, ce, kl = trainer.method.parts(batch["features"], batch["label"])
    along_ce = torch.autograd.grad(ce, trainer.method.context.ctx, retain_graph=True)[0]
    along_kl = torch.autograd.grad(kl, trainer.method.context.ctx)[0]
    _, parts = trainer.method.training_step(batch)
    (found,) = torch.autograd.grad(parts["ce"], trainer.method.context.ctx)
    assert parts["ce"].item() == pytest.approx(ce.item(), rel=1e-6)
    torch.testing.assert_close(found, project(along_ce, along_kl, 1.0), atol=1e-6, rtol=1e-4)
    if teacher == "self":
        assert along_kl.abs().max() < 1e-4 * along_ce.abs().max()


def test_cocoop_encodes_in_one_batch_what_a_loop_over_images_gives(build, monkeypatch):
    trainer = build("CoCoOp", shots=2)
    backbone, context = trainer.backbone, trainer.method.context
    features = torch.tensor(unit(3, backbone.embed_dim), dtype=torch.float32)
    words = backbone.embed_tokens(context.tokens.ids)
    expected = []
    with torch.no_grad():
        for feature in features:
            prompts = words.clone()
            prompts[:, 1:5] = context.ctx + trainer.method.meta_net(feature)
            text = F.normalize(backbone.encode_text(prompts, context.tokens.mask), dim=-1)
            expected.append(backbone.logit_scale * text @ feature)
        torch.testing.assert_close(trainer.method.logits(features), torch.stack(expected), atol=1e-4, rtol=1e-4)
        monkeypatch.setitem(cocoop.TEST_PROMPTS, "cpu", 16)  # two images at a time
        torch.testing.assert_close(trainer.method.logits(features), torch.stack(expected), atol=1e-4, rtol=1e-4)


def test_biomed_coop_selection_by_hand():
    scores = torch.tensor([1.0, 2.0, 3.0, 4.0, 40.0])
    # median 3, MAD 1: z = -2, -1, 0, 1, 37; mean 7, std 16.81: standardised -0.54, -0.48, -0.42, -0.36, 1.78
    assert select(scores, 1.5).tolist() == [True, True, True, True, False]
    assert select(scores, 0.5).tolist() == [False, True, True, True, False]


def test_biomed_coop_loss(build):
    opts = ["SCCM_LAMBDA", 2.0, "KDSP_LAMBDA", 3.0, "N_PROMPTS", 6, "TAU", 1.0]
    pairs = [f"TRAINER.BIOMEDCOOP.{opt}" if isinstance(opt, str) else opt for opt in opts]
    trainer = build("BiomedCoOp", opts=pairs)
    text, image, batch, labels = given(trainer)
    sentences = unit(8, 6, text.shape[1], seed=4)
    trainer.method.sentences = torch.tensor(sentences)
    trainer.method.teacher = torch.tensor(unit(8, text.shape[1], seed=5))
    _, parts = trainer.method.training_step(batch)
    scale = trainer.backbone.logit_scale
    scores = np.array([(scale * image @ sentences[:, i].T).max(1).mean() for i in range(6)])
    kept = np.abs((scores - scores.mean()) / scores.std(ddof=1)) <= 1.0
    assert 0 < kept.sum() < 6
    chosen = sentences[:, kept].mean(1)
    chosen /= np.linalg.norm(chosen, axis=1, keepdims=True)
    log_p, log_q = log_softmax(scale * image @ text.T), log_softmax(scale * image @ chosen.T)
    assert parts["ce"].item() == pytest.approx(cross_entropy(scale * image @ text.T, labels), rel=1e-6)
    assert parts["sccm"].item() == pytest.approx(2 * ((text - trainer.method.teacher.numpy()) ** 2).mean(), rel=1e-6)
    assert parts["kdsp"].item() == pytest.approx(3 * (np.exp(log_q) * (log_q - log_p)).sum() / 32, rel=1e-6)


def towers_by_hand(trainer, words, mask, deep_text, pixels, tokens):
    """Logits of Tiny with a text context per layer and inserted image tokens per block, block by block."""
    net, n = trainer.backbone.model, len(tokens[0])
    bert, trunk = net.text.transformer, net.visual.trunk
    hidden = bert.embeddings(inputs_embeds=words)
    square = mask[:, None, None, :].bool().expand(-1, -1, mask.shape[1], -1)
    bias = torch.zeros(square.shape).masked_fill(~square, -1e9)
    for k, layer in enumerate(bert.encoder.layer):
        if 0 < k <= len(deep_text):
            hidden = torch.cat([hidden[:, :1], deep_text[k - 1].expand(len(hidden), -1, -1), hidden[:, 5:]], 1)
        output = layer(hidden, bias)
        hidden = output[0] if isinstance(output, tuple) else output
    text = F.normalize(net.text.proj(hidden[:, 0]), dim=-1)
    image = trunk.norm_pre(trunk._pos_embed(trunk.patch_embed(pixels)))
    for k, block in enumerate(trunk.blocks):
        if k < len(tokens):
            rest = image[:, 1:] if k == 0 else image[:, 1 + n :]
            image = torch.cat([image[:, :1], tokens[k].expand(len(image), -1, -1), rest], 1)
        image = block(image)
    image = F.normalize(net.visual.head(trunk.norm(image)[:, 0]), dim=-1)
    return trainer.backbone.logit_scale * image @ text.T


@pytest.mark.parametrize("method", ["MaPLe", "PromptSRC", "VPTDeep", "DPT"])
def test_deep_prompts_against_a_loop_over_the_blocks(build, method):
    trainer = build(method, shots=1)
    images = trainer.train_loader_x.dataset
    pixels = torch.stack([images.load(k, 0)["img"] for k in range(2)])
    depth = {"MaPLe": 3, "PromptSRC": 6, "VPTDeep": 6, "DPT": 1}[method]
    assert trainer.method.visual_prompt().values.shape[:2] == (depth, 4)
    assert trainer.method.visual_prompt().placement == "insert"
    with torch.no_grad():
        if method == "VPTDeep":
            tokens = trainer.backbone.tokenize([f"a photo of a {name}." for name in trainer.method.classnames])
            words, deep, mask = trainer.backbone.embed_tokens(tokens.ids), [], tokens.mask
        else:
            words, mask, deep = (
                trainer.method.context(),
                trainer.method.context.tokens.mask,
                trainer.method.context.deep,
            )
            assert (deep is None) == (method == "DPT")
            deep = [] if deep is None else deep
        image_tokens = trainer.method.visual_prompt().values
        if method == "MaPLe":  # layer by layer from the text context
            layers = [trainer.method.context.ctx, *deep]
            by_hand = [c @ p.weight.T + p.bias for c, p in zip(layers, trainer.method.projections, strict=True)]
            torch.testing.assert_close(image_tokens, torch.stack(by_hand))
        expected = towers_by_hand(trainer, words, mask, deep, pixels, image_tokens)
        found = trainer.method.logits(trainer.method.encode_images(pixels))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_maple_learns_in_no_more_layers_than_both_towers_have(build):
    shallow = build("MaPLe", opts=["TRAINER.MAPLE.PROMPT_DEPTH", 1])
    assert shallow.method.context.deep is None
    assert len(shallow.method.projections) == 1
    deep = build("MaPLe")
    assert len(deep.method.projections) == deep.backbone.text_depth == 3 < deep.backbone.vision_depth


def test_promptsrc_losses(build):
    trainer = build("PromptSRC", opts=["TRAINER.PROMPTSRC.N_PROMPTS", 2])
    text, image, batch, labels = given(trainer)
    frozen = unit(4, text.shape[1], seed=6)
    teacher = unit(8, text.shape[1], seed=7)
    trainer.method.teacher = torch.tensor(teacher, dtype=torch.float32)
    trainer.method.setup.backbone = SimpleNamespace(
        logit_scale=13.0, encode_image=lambda pixels: torch.tensor(5 * frozen)
    )
    trainer.method.text_features = lambda: torch.tensor(text, dtype=torch.float32)
    batch = {**batch, "features": batch["features"].float(), "img": None}
    _, parts = trainer.method.training_step(batch)
    log_p, log_q = log_softmax(13 * image @ text.T), log_softmax(13 * frozen @ teacher.T)
    assert parts["ce"].item() == pytest.approx(cross_entropy(13 * image @ text.T, labels), rel=1e-5)
    assert parts["text"].item() == pytest.approx(25 * np.abs(text - teacher).mean(), rel=1e-5)
    assert parts["image"].item() == pytest.approx(10 * np.abs(image - frozen).mean(), rel=1e-5)
    assert parts["kl"].item() == pytest.approx((np.exp(log_q) * (log_q - log_p)).sum() / 32, rel=1e-5)


def test_promptsrc_averages_over_epochs_by_hand():
    assert gauss(3, 3, 5) == 1
    assert gauss(8, 3, 5) == gauss(-2, 3, 5) == pytest.approx(math.exp(-0.5))
    module = torch.nn.Linear(1, 1, bias=False)
    average = Average(module)
    for value, weight in ((1.0, 1.0), (4.0, 3.0)):
        with torch.no_grad():
            module.weight.fill_(value)
        average.add(module, weight)
    average.write_to(module)
    assert module.weight.item() == (1 + 12) / 4


def test_promptsrc_tests_the_average(build):
    opts = [*FEW, "TRAINER.PROMPTSRC.GPA_MEAN", 1.0, "TRAINER.PROMPTSRC.GPA_STD", 1.0, "OPTIM.WARMUP_EPOCH", -1]
    trainer = build("PromptSRC", opts=opts)
    seen = []
    add = trainer.method.average.add
    trainer.method.average.add = lambda module, weight: (
        seen.append((module.tokens.values.clone(), weight)) or add(module, weight)
    )
    trainer.train()
    (first, heavy), (last, light) = seen
    assert (heavy, light) == (1.0, pytest.approx(math.exp(-0.5)))
    expected = (heavy * first + light * last) / (heavy + light)
    torch.testing.assert_close(trainer.method.tokens.values.detach(), expected)
    assert not torch.allclose(expected, last, atol=1e-6)
