"""Checkpoints of earlier versions load: tests/data/checkpoints holds one per method, with the logits it gave."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from tests.registered import LEARNING

STORED = Path(__file__).parent / "data" / "checkpoints"
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
