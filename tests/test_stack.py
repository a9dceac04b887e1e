"""Runs that are trained in a stack give the numbers of separate runs; steps do not wait for the device."""

import json

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from clip import BiomedCLIP
from runs.arguments import parse_args
from runs.execute import carry_out
from runs.results import read_results
from sweep.plan import make_plan, stacks
from tests.registered import STEPPING
from trainers.precision import Precision
from trainers.stack import step, train_stack

EPOCHS = ["OPTIM.MAX_EPOCH", 4, "DATALOADER.TRAIN_X.BATCH_SIZE", 4]


def losses_of(trainer):
    return np.array([value for _, value in trainer.history["train/loss"]])


@pytest.mark.parametrize("method", ["CoOp", "BiomedDPT"])
def test_seeds_and_shots_in_a_stack_equal_separate_runs(build, method):
    cells = [(1, 1), (2, 1), (1, 2)]
    alone = [build(method, seed=seed, shots=shots, opts=EPOCHS) for seed, shots in cells]
    for trainer in alone:
        trainer.train()
    together = [build(method, seed=seed, shots=shots, opts=EPOCHS) for seed, shots in cells]
    train_stack(together)
    assert [len(losses_of(trainer)) for trainer in together] == [8, 8, 16]
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(losses_of(other), losses_of(one), rtol=1e-5)
        torch.testing.assert_close(other.method.context.ctx, one.method.context.ctx, atol=1e-5, rtol=1e-4)
        assert other.evaluation["all"]["accuracy"] == pytest.approx(one.evaluation["all"]["accuracy"], abs=100 / 96)


def test_runs_of_a_stack_share_the_backbone_and_each_forward_pass(build, monkeypatch):
    trainers = [build("BiomedDPT", seed=seed, opts=EPOCHS) for seed in (1, 2, 3)]
    assert len({id(trainer.backbone) for trainer in trainers}) == 1
    batches = []
    encode = BiomedCLIP.encode_text
    monkeypatch.setattr(
        BiomedCLIP,
        "encode_text",
        lambda self, e, *rest: batches.append((len(e), torch.is_grad_enabled())) or encode(self, e, *rest),
    )
    train_stack(trainers)
    assert [size for size, training in batches if training] == [3 * 8] * 8


def test_a_stack_that_was_interrupted_goes_on_where_each_run_was(build):
    whole = [build("BiomedDPT", seed=seed, opts=EPOCHS) for seed in (1, 2)]
    train_stack(whole)
    first = [build("BiomedDPT", seed=seed, opts=EPOCHS) for seed in (1, 2)]
    finish = first[1].after_epoch

    def interrupt():
        if first[1].epoch == 1:
            raise KeyboardInterrupt  # the first run has kept its second epoch, this one has not
        finish()

    first[1].after_epoch = interrupt
    with pytest.raises(KeyboardInterrupt):
        train_stack(first)
    again = [
        build("BiomedDPT", seed=seed, opts=[*EPOCHS, "OUTPUT_DIR", run.output_dir])
        for seed, run in zip((1, 2), first, strict=True)
    ]
    train_stack(again)
    assert [run.start_epoch for run in again] == [2, 1]
    for one, other in zip(whole, again, strict=True):
        np.testing.assert_allclose(losses_of(other), losses_of(one), rtol=1e-5)


def test_text_dropout_is_drawn_as_in_separate_runs(build):
    opts = [*EPOCHS, "TRAINER.BIOMEDDPT.TEXT_DROPOUT", True]
    alone = build("BiomedDPT", seed=2, opts=opts)
    alone.train()
    together = [build("BiomedDPT", seed=seed, opts=opts) for seed in (1, 2)]
    assert not together[0].stackable
    train_stack(together)
    assert losses_of(together[1]).tolist() == losses_of(alone).tolist()


def test_dropout_left_on_by_a_run_that_ended_early_does_not_reach_the_next(build, monkeypatch, tmp_path):
    monkeypatch.setenv("BIOMED_DPT_CACHE", str(tmp_path / "own"))
    clean = build("BiomedDPT", opts=EPOCHS).method.teacher
    monkeypatch.setenv("BIOMED_DPT_CACHE", str(tmp_path / "other"))
    ended = build("CoOp", opts=[*EPOCHS, "TRAINER.COOP.TEXT_DROPOUT", True])
    next(ended.batches())
    assert ended.backbone.model.text.training
    after = build("BiomedDPT", opts=EPOCHS)
    assert after.backbone is ended.backbone
    torch.testing.assert_close(after.method.teacher, clean, atol=0, rtol=0)


def test_a_run_is_finished_before_its_longer_neighbours(build):
    short, long = build("CoOp", opts=EPOCHS), build("CoOp", shots=2, opts=EPOCHS)
    steps_left = {}
    train_stack([long, short], lambda run: steps_left.setdefault(run, 16 - len(losses_of(long))))
    assert list(steps_left) == [short, long]
    assert steps_left[short] > steps_left[long] == 0
    assert short.evaluation


class Waits(TorchDispatchMode):
    """Counts what would wait for a GPU: reading a value on the host, and shapes that depend on values."""

    found = ("_local_scalar_dense", "is_nonzero", "aten.nonzero", "aten.equal", "masked_select", "aten.unique")

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += any(name in str(function) for name in self.found)
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("method", STEPPING)
def test_no_step_waits_for_the_device(build, method):
    lora = ["TRAINER.CLIPLORA.ITERATIONS_PER_SHOT", 0] if method == "CLIPLoRA" else []
    trainer = build(method, shots=2, opts=[*EPOCHS, "TRAIN.PRINT_FREQ", 1000, *lora])
    if isinstance(trainer.optim, torch.optim.AdamW):  # its counters of steps lie on the host and are read there
        trainer.precision.step = lambda optim: None
    batches = trainer.batches()
    batch = next(batches)
    with Waits() as waits:
        step({trainer: batch})
        assert waits.count == 0
        float(trainer._losses[0])
        assert waits.count == 1


def test_a_loss_that_is_not_finite_ends_the_run_before_it_is_kept(build, monkeypatch, tmp_path):
    trainer = build("CoOp", opts=[*EPOCHS, "TRAIN.PRINT_FREQ", 1000])
    monkeypatch.setattr(trainer.method, "similarities", lambda images, text: float("nan") * images @ text.T)
    with pytest.raises(FloatingPointError, match="the loss is nan in epoch 1, step 1"):
        trainer.train()
    assert not list(tmp_path.rglob("checkpoint.pth"))


def test_groups_of_runs():
    plan = make_plan("few_shot", ["busi"], "Tiny", ["CoOp"], [1, 16], [1, 2, 3])
    assert [[(run.shots, run.seed) for run in group] for group in stacks(plan, most=2)] == [
        [(16, 1), (16, 2)], [(16, 3)], [(1, 1), (1, 2)], [(1, 3)],
    ]  # fmt: skip
    assert [len(group) for group in stacks(plan, most=16, on_gpu=True)] == [6]
    assert [len(group) for group in stacks(plan, most=1)] == [1] * 6


def test_each_run_of_a_stack_has_a_log_and_results_of_its_own(phantom_root, tmp_path):
    commands = [
        parse_args(["--trainer", "CoOp", "--root", str(phantom_root), "--shots", "1", "--seed", str(seed),
                          "--output-dir", str(tmp_path / str(seed)), "OPTIM.MAX_EPOCH", "2"])
        for seed in (1, 2)
    ]  # fmt: skip
    assert carry_out(commands) == []
    for seed in (1, 2):
        log = (tmp_path / str(seed) / "log.txt").read_text()
        assert f"CoOp on phantom (Tiny, few_shot, 1 shots, seed {seed})" in log
        assert f"seed {3 - seed})" not in log
        assert log.count("epoch [2/2]") == 1
        results = read_results(tmp_path / str(seed))
        assert results["seconds"]["runs_in_stack"] == 2
        assert json.dumps(results["metrics"]["all"]["accuracy"])[:5] in log


def test_tf32_is_switched_on_for_the_block_alone():
    before = torch.backends.cuda.matmul.allow_tf32
    with Precision("tf32", torch.device("cpu")).autocast():
        assert torch.backends.cuda.matmul.allow_tf32
    with Precision("fp32", torch.device("cpu")).autocast():
        assert torch.backends.cuda.matmul.allow_tf32 == before
    assert torch.backends.cuda.matmul.allow_tf32 == before


def test_features_in_bf16_are_near_those_in_fp32(build):
    exact, rounded = (build("ZeroShot", opts=["FEATURE_PREC", name]) for name in ("fp32", "bf16"))
    items = exact.dm.dataset.test[:16]
    features = [trainer.encoder.images(items, None, "test images")[0] for trainer in (exact, rounded)]
    assert not torch.equal(*features)
    assert (features[0] * features[1]).sum(1).min() > 0.999


def test_prompts_padded_to_the_context_length_give_the_same_training(build):
    plain, padded = (build("BiomedDPT", opts=[*EPOCHS, "TEXT_PADDING", name]) for name in ("longest", "context"))
    assert (
        padded.method.context.tokens.ids.shape[1]
        == padded.backbone.context_length
        > plain.method.context.tokens.ids.shape[1]
    )
    assert plain.backbone is not padded.backbone
    for trainer in (plain, padded):
        trainer.train()
    np.testing.assert_allclose(losses_of(padded), losses_of(plain), rtol=1e-4)
