"""Checkpoints are loaded where they fit; tests/data/checkpoints holds one of the first version per method."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from tests.registered import LEARNING

STORED = Path(__file__).parent / "data" / "checkpoints"
FAST = ["OPTIM.MAX_EPOCH", "2"]
LOGITS = json.loads((STORED / "logits.json").read_text())


@pytest.mark.parametrize("method", LOGITS)
def test_checkpoints_of_the_first_version_load(method, build, tmp_path):
    trainer = build(method, shots=2)
    shutil.copy(STORED / f"{method}.pth", tmp_path / "model.pth")
    trainer.load_model(str(tmp_path))
    trainer.set_model_mode("eval")
    width = trainer.backbone.embed_dim
    images = F.normalize(torch.sin(torch.arange(3 * width).float()).view(3, width), dim=-1)
    with torch.no_grad(), trainer.method.adapted():
        found = trainer.method.logits(images)
    torch.testing.assert_close(found, torch.tensor(LOGITS[method]), atol=2e-3, rtol=1e-3)


@pytest.mark.parametrize("method", ["CoOp", "VPT", "TipAdapterF"])
def test_checkpoints_at_a_frequency_are_loaded_by_epoch(method, build):
    if method not in LEARNING:
        pytest.fail(f"{method} is no longer a method that learns")
    trainer = build(method, opts=["OPTIM.MAX_EPOCH", 4, "TRAIN.CHECKPOINT_FREQ", 2])
    states = {}
    finish = trainer.method.after_epoch
    trainer.method.after_epoch = lambda epoch: (
        finish(epoch),
        states.update({epoch + 1: {name: value.clone() for name, value in trainer.method.state_dict().items()}}),
    )
    trainer.train()
    folder = Path(trainer.output_dir)
    assert sorted(path.name for path in (folder / "prompt_learner").iterdir()) == ["model.pth.tar-2", "model.pth.tar-4"]
    again = build(method, opts=["OPTIM.MAX_EPOCH", 4])
    again.load_model(str(folder), epoch=2)
    assert all(torch.equal(value, states[2][name]) for name, value in again.method.state_dict().items())
    assert any(not torch.equal(value, states[4][name]) for name, value in again.method.state_dict().items())


def test_evaluation_says_what_differs_from_the_training(command, tmp_path):
    test = ["--eval-only", "--model-dir", tmp_path / "run"]
    adapter = ["--trainer", "CLIPAdapter", "--shots", 1]
    command(*adapter, *FAST)
    code, printed = command(*adapter, *test, "TRAINER.CLIPADAPTER.RATIO", 0.3, out=None)
    assert code == 0
    assert "note: trained with RATIO 0.5, tested with RATIO 0.3" in printed.out
    code, printed = command(*adapter, *test, "DATASET.SUBSAMPLE_CLASSES", "new", out=None)
    assert code == 0
    assert "note: trained on the classes ['cyst in fatty tissue'" in printed.out
    probe = ["--trainer", "LinearProbe", "--shots", 1, "TRAINER.LINEARPROBE.SEARCH_STEPS", 0]
    base = ["DATASET.SUBSAMPLE_CLASSES", "base"]
    assert command(*probe, *base, "--overwrite")[0] == 0
    code, printed = command(*probe, *test, "DATASET.SUBSAMPLE_CLASSES", "new", out=None)
    assert code == 2
    assert "was trained on the classes ['cyst in fatty tissue'" in printed.err


def test_training_can_start_from_a_trained_model(command, tmp_path):
    command("--trainer", "CoOp", "--shots", 1, *FAST)
    first = torch.load(tmp_path / "run" / "model.pth", weights_only=True)["state_dict"]["context.ctx"]
    opts = ["MODEL.INIT_WEIGHTS", tmp_path / "run" / "model.pth", "OPTIM.MAX_EPOCH", 1, "OPTIM.WARMUP_CONS_LR", 1e-12]
    code, _ = command("--trainer", "CoOp", "--shots", 1, *opts, out="more")
    assert code == 0
    more = torch.load(tmp_path / "more" / "model.pth", weights_only=True)["state_dict"]["context.ctx"]
    torch.testing.assert_close(more, first, atol=1e-7, rtol=0)


def test_coop_style_checkpoint_and_new_classes(command, tmp_path):
    """prompt_learner/model.pth.tar-<epoch> as CoOp-style code writes it, tested on the new classes."""
    command("--trainer", "CoOp", "--protocol", "base2new", "--shots", 2, *FAST)
    context = torch.load(tmp_path / "run" / "model.pth", weights_only=True)["state_dict"]["context.ctx"]
    (tmp_path / "old" / "prompt_learner").mkdir(parents=True)
    state = {"ctx": context, "token_prefix": torch.zeros(4, 1, 128), "token_suffix": torch.zeros(4, 9, 128)}
    # Upstream Dassl's warm-up schedule has the schedule that follows it, an object, in its state.
    optimizer = torch.optim.SGD([torch.nn.Parameter(context)], lr=0.002, momentum=0.9)
    schedule = {"last_epoch": 50, "successor": torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 50)}
    whole = {"state_dict": state, "epoch": 50, "optimizer": optimizer.state_dict(), "scheduler": schedule}
    torch.save(whole, tmp_path / "old" / "prompt_learner" / "model.pth.tar-50")
    words = ["--trainer", "CoOp", "--shots", 2, "--eval-only", "--model-dir", tmp_path / "old", "--load-epoch", 50]
    code, printed = command(*words, "DATASET.SUBSAMPLE_CLASSES", "new", out=None)
    assert code == 0
    expected = json.loads((tmp_path / "run" / "results.json").read_text())["metrics"]["new"]["accuracy"]
    assert f"new {expected:.2f} %" in printed.out
