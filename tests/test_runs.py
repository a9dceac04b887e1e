"""The same numbers however a run is carried out."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from dassl.data.data_manager import set_epoch
from trainers import checkpoint, features

EPOCHS = ["OPTIM.MAX_EPOCH", 5]


def losses(trainer):
    trainer.train()
    return np.array([value for _, value in trainer.history["train/loss"]])


@pytest.fixture
def reference(build):
    return losses(build("BiomedDPT", shots=2, opts=EPOCHS))


def test_features_ahead_of_time_equal_features_in_the_step(build, reference):
    online = losses(build("BiomedDPT", shots=2, opts=[*EPOCHS, "FEATURES", "online"]))
    assert len(online) == 5 * 4
    np.testing.assert_allclose(online, reference, rtol=1e-5)


def test_any_number_of_workers(build, reference):
    for mode in ("ahead", "online"):
        opts = [*EPOCHS, "DATALOADER.NUM_WORKERS", 2, "FEATURES", mode]
        trainer = build("BiomedDPT", shots=2, opts=opts)
        assert trainer.train_loader_x.num_workers == 2
        np.testing.assert_allclose(losses(trainer), reference, rtol=1e-5)


@pytest.mark.parametrize("extra", [[], ["TRAINER.BIOMEDDPT.TEXT_DROPOUT", True]])
def test_interrupted_and_resumed(build, monkeypatch, extra):
    monkeypatch.setitem(features.EPOCHS_AHEAD, "cpu", 2)  # the interrupt falls into a block of two epochs
    whole = losses(build("BiomedDPT", shots=2, opts=[*EPOCHS, *extra]))
    first = build("BiomedDPT", shots=2, opts=[*EPOCHS, *extra])
    finish_epoch = first.after_epoch

    def interrupt():
        finish_epoch()
        if first.epoch + 1 == 3:
            raise KeyboardInterrupt

    first.after_epoch = interrupt
    with pytest.raises(KeyboardInterrupt):
        first.train()
    second = build("BiomedDPT", shots=2, opts=[*EPOCHS, *extra, "OUTPUT_DIR", first.output_dir])
    assert losses(second).tolist() == whole.tolist()
    assert second.start_epoch == 3


def test_a_damaged_state_is_not_used(build, capsys):
    whole = build("CoOp", shots=1, opts=EPOCHS)
    expected = losses(whole).tolist()
    again = build("CoOp", shots=1, opts=EPOCHS)
    (Path(again.output_dir) / checkpoint.STATE_FILE).write_bytes(b"PK\x03\x04 cut short")
    assert losses(again).tolist() == expected
    assert "starting from the first epoch" in capsys.readouterr().out


def test_text_dropout_changes_training_and_nothing_else(build, reference):
    trainer = build("BiomedDPT", shots=2, opts=[*EPOCHS, "TRAINER.BIOMEDDPT.TEXT_DROPOUT", True])
    assert not np.allclose(losses(trainer), reference, rtol=1e-3)
    trainer.set_model_mode("eval")
    with torch.no_grad():
        assert torch.equal(trainer.method.text_features(), trainer.method.text_features())
    assert not trainer.backbone.model.visual.training


def test_views_are_functions_of_seed_epoch_and_image(build):
    first, second = (build("CoOp", shots=2).train_loader_x.dataset for _ in range(2))
    other = build("CoOp", shots=2, seed=2).train_loader_x.dataset
    torch.manual_seed(3)
    one = first.load(3, epoch=7)["img"]
    first.load(1, epoch=2)
    assert torch.equal(first.load(3, epoch=7)["img"], one)
    assert torch.equal(second.load(3, epoch=7)["img"], one)
    assert not torch.equal(first.load(3, epoch=8)["img"], one)
    other.data_source = first.data_source
    assert not torch.equal(other.load(3, epoch=7)["img"], one)


def test_every_epoch_shows_every_image_once_in_another_order(build):
    trainer = build("CoOp", shots=4, opts=["DATALOADER.TRAIN_X.BATCH_SIZE", 8])
    orders = []
    for trainer.epoch in (0, 1):
        ahead = [batch["index"].tolist() for batch in trainer.epoch_batches()]
        set_epoch(trainer.train_loader_x, trainer.epoch)
        assert ahead == [batch["index"].tolist() for batch in trainer.train_loader_x]
        orders.append([index for batch in ahead for index in batch])
        assert sorted(orders[-1]) == list(range(32))
    assert orders[0] != orders[1]


def test_last_incomplete_batch_is_dropped_only_if_there_is_a_whole_one(build):
    counts = {size: len(build("CoOp", shots=1, opts=["DATALOADER.TRAIN_X.BATCH_SIZE", size]).epoch_batches())
              for size in (3, 8, 32)}  # fmt: skip
    assert counts == {3: 2, 8: 1, 32: 1}


def test_twenty_steps_equal_a_loop_of_a_few_lines(build):
    """An independent version: prompts padded to the context length, open_clip's own text tower, plain SGD."""
    trainer = build("BiomedDPT", shots=4, opts=EPOCHS)
    net, settings = trainer.backbone.model, trainer.method.config
    names = trainer.method.classnames
    ids = trainer.backbone.tokenize([trainer.method.prompts.template.format(n) for n in names]).ids
    ids = F.pad(ids, (0, trainer.backbone.context_length - ids.shape[1]))
    words = net.text.transformer.embeddings.word_embeddings(ids).detach()
    context = words[0, 1:6].clone().requires_grad_(True)
    sentences = [F.normalize(trainer.backbone.encode_sentences(trainer.method.prompts[n]), dim=-1) for n in names]
    teacher = torch.stack([F.normalize(features.mean(0), dim=-1) for features in sentences])
    images = trainer.train_loader_x.dataset
    momentum, expected = torch.zeros_like(context), []
    for epoch in range(5):
        lr = 1e-5 if epoch == 0 else trainer.cfg.OPTIM.LR * 0.5 * (1 + np.cos(np.pi * (epoch - 1) / 5))
        trainer.epoch = epoch
        for batch in trainer.epoch_batches():
            pixels = torch.stack([images.load(k, epoch)["img"] for k in batch["index"].tolist()])
            with torch.no_grad():
                trunk = net.visual.trunk
                tokens = trunk.norm_pre(trunk._pos_embed(trunk.patch_embed(pixels)))
                for block in trunk.blocks:
                    tokens[:, 1:5] = 0
                    tokens = block(tokens)
                image = F.normalize(net.visual.head(trunk.norm(tokens)[:, 0]), dim=-1)
            prompts = torch.cat([words[:, :1], context.expand(8, -1, -1), words[:, 6:]], dim=1)
            hidden = net.text.transformer(inputs_embeds=prompts, attention_mask=(ids > 0).long()).last_hidden_state
            text = F.normalize(net.text.proj(hidden[:, 0]), dim=-1)
            scale = net.logit_scale.exp()
            logits, target = scale * image @ text.T, scale * image @ teacher.T
            p = target.softmax(1)
            kl = (p * (target.log_softmax(1) - logits.log_softmax(1))).sum() / logits.numel()
            loss = F.cross_entropy(logits, batch["label"]) + settings.L1_LAMBDA * (text - teacher).abs().mean()
            loss = loss + settings.KL_LAMBDA * kl
            (gradient,) = torch.autograd.grad(loss, context)
            momentum = 0.9 * momentum + gradient + 5e-4 * context.detach()
            context = (context.detach() - lr * momentum).requires_grad_(True)
            expected.append(loss.item())
    assert len(expected) == 40
    np.testing.assert_allclose(losses(trainer), expected, rtol=1e-4)
    torch.testing.assert_close(trainer.method.context.ctx.detach(), context.detach(), atol=1e-4, rtol=0)


def test_only_the_context_is_learned(build):
    trainer = build("BiomedDPT", shots=1, opts=["OPTIM.MAX_EPOCH", 2])
    before = {name: value.clone() for name, value in trainer.backbone.state_dict().items()}
    context = trainer.method.context.ctx.detach().clone()
    trainer.train()
    assert trainer.trainable_parameters == context.numel() == 5 * trainer.backbone.text_width
    assert not torch.equal(trainer.method.context.ctx.detach(), context)
    assert all(torch.equal(value, before[name]) for name, value in trainer.backbone.state_dict().items())


@pytest.mark.parametrize("precision", ["bf16", "amp"])
def test_reduced_precision_stays_near(build, precision, reference):
    reduced = losses(build("BiomedDPT", shots=2, opts=[*EPOCHS, "TRAINER.BIOMEDDPT.PREC", precision]))
    assert np.isfinite(reduced).all()
    assert not np.array_equal(reduced, reference)
    np.testing.assert_allclose(reduced, reference, rtol=0.1)


def test_best_on_validation_is_kept_where_asked_for(build):
    trainer = build("CoOp", shots=4, opts=["OPTIM.MAX_EPOCH", 4, "TEST.FINAL_MODEL", "best_val"])
    trainer.train()
    assert trainer.best_result == trainer.test(split="val")


@pytest.mark.parametrize("position", ["front", "middle"])
@pytest.mark.parametrize("placement", ["replace", "insert"])
def test_positions_and_placements_train(build, position, placement):
    opts = ["TRAINER.BIOMEDDPT.CLASS_TOKEN_POSITION", position, "TRAINER.BIOMEDDPT.VISUAL_PLACEMENT", placement]
    values = losses(build("BiomedDPT", shots=1, opts=[*opts, "OPTIM.MAX_EPOCH", 3]))
    assert np.isfinite(values).all()
    assert len(set(values)) > 1
