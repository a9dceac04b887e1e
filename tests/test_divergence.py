"""Numbers that are not finite: an error of the settings, which leaves what was saved and the other runs intact."""

import json
from pathlib import Path

import pytest
import torch
from torch.nn import functional

import train
from dassl.config import get_cfg_default
from dassl.errors import DivergedError, InputError
from dassl.evaluation import build_evaluator
from runs.arguments import parse_args
from runs.execute import carry_out
from runs.folder import is_complete
from tests.test_own_code import own, words  # noqa: F401
from trainers.stack import train_stack

EPOCHS = ["OPTIM.MAX_EPOCH", 3, "DATALOADER.TRAIN_X.BATCH_SIZE", 8]


def poison(trainer, epoch):
    """Make the losses of a trainer nan from an epoch on, counted from 0."""
    plain = trainer.method.losses

    def losses(images, labels):
        logits, parts = plain(images, labels)
        return logits, {name: part * (float("nan") if trainer.epoch >= epoch else 1) for name, part in parts.items()}

    trainer.method.losses = losses


def test_the_error_says_what_to_change_and_the_last_good_state_stays(build, tmp_path):
    trainer = build("CoOp", opts=EPOCHS)
    poison(trainer, 2)
    with pytest.raises(FloatingPointError) as raised:
        trainer.train()
    assert isinstance(raised.value, InputError)
    assert "the loss is nan in epoch 3, step 1" in str(raised.value)
    assert "lower OPTIM.LR (it is 0.01)" in str(raised.value)
    again = build("CoOp", opts=[*EPOCHS, "OUTPUT_DIR", trainer.output_dir])
    again.train()
    assert again.start_epoch == 2
    assert again.evaluation


def test_the_command_line_ends_with_2_each_time(command, tmp_path, monkeypatch):
    plain = functional.cross_entropy
    monkeypatch.setattr(functional, "cross_entropy", lambda *words: plain(*words) * float("nan"))
    for _ in range(2):
        code, printed = command("--trainer", "CoOp", "--shots", 1, "OPTIM.MAX_EPOCH", 2, "OPTIM.LR", 900)
        assert code == 2
        assert "the loss is nan in epoch 1, step 1" in printed.err
        assert "lower OPTIM.LR (it is 900.0)" in printed.err
        assert not is_complete(tmp_path / "run")


def test_weights_that_are_not_finite_are_not_saved(build):
    trainer = build("CoOp", opts=EPOCHS)
    finish = trainer.method.after_epoch

    def after_epoch(epoch):
        finish(epoch)
        trainer.method.context.ctx.data[0, 0] = float("inf")

    trainer.method.after_epoch = after_epoch
    with pytest.raises(DivergedError, match="the weights are not finite in epoch 1"):
        trainer.train()
    assert not list(Path(trainer.output_dir).glob("*.pth"))


def test_a_closed_form_that_is_not_finite(build, monkeypatch):
    trainer = build("LPpp", opts=["OPTIM.MAX_EPOCH", 2])
    monkeypatch.setattr(trainer.method, "fit", lambda data: [1.0, float("inf")])
    with pytest.raises(DivergedError, match=r"the loss is inf in epoch 1, step 2 .* change the settings TRAINER.LPPP"):
        trainer.train()


def test_the_other_runs_of_a_stack_are_finished(build):
    alone = build("CoOp", seed=2, opts=EPOCHS)
    alone.train()
    bad, good, slow = (build("CoOp", seed=seed, opts=EPOCHS) for seed in (1, 2, 3))
    poison(bad, 1)
    done = []
    with pytest.raises(DivergedError, match="the loss is nan in epoch 2"):
        train_stack([bad, good, slow], done.append)
    assert done == [good, slow]
    torch.testing.assert_close(good.method.context.ctx, alone.method.context.ctx, atol=1e-5, rtol=1e-4)


def test_the_other_commands_of_a_stack_are_carried_out(phantom_root, tmp_path, monkeypatch):
    from trainers.tuner import Tuner

    plain = Tuner._read_losses

    def read(self):
        if self.cfg.SEED == 1:
            raise self.diverged("the loss is nan", 1)
        plain(self)

    monkeypatch.setattr(Tuner, "_read_losses", read)
    commands = [
        parse_args(["--trainer", "CoOp", "--root", str(phantom_root), "--shots", "1", "--seed", seed,
                    "--output-dir", str(tmp_path / seed), "OPTIM.MAX_EPOCH", "1"])
        for seed in ("1", "2")
    ]  # fmt: skip
    with pytest.raises(InputError, match="lower"):
        carry_out(commands)
    assert [is_complete(tmp_path / seed) for seed in ("1", "2")] == [False, True]


def test_logits_that_are_not_finite_give_no_accuracy():
    evaluator = build_evaluator(get_cfg_default())
    evaluator.process(torch.tensor([[float("-inf"), 1.0], [2.0, 1.0]]), torch.tensor([1, 0]))
    assert evaluator.evaluate()["accuracy"] == 100
    for value in ("nan", "inf"):
        evaluator.reset()
        evaluator.process(torch.tensor([[float(value), 1.0], [2.0, 1.0]]), torch.tensor([0, 1]))
        with pytest.raises(DivergedError, match="the logits of the tested images are not finite"):
            evaluator.evaluate()


def test_a_dassl_trainer_that_diverges(own, capsys, monkeypatch):  # noqa: F811
    plain = functional.cross_entropy
    monkeypatch.setattr(functional, "cross_entropy", lambda *words: plain(*words) * float("nan"))
    assert train.main(words(own, "OPTIM.LR", "900")) == 2
    assert "lower OPTIM.LR (it is 900.0)" in capsys.readouterr().err
    assert not is_complete(own / "run")


def test_training_without_a_test(command, tmp_path):
    code, printed = command("--trainer", "CoOp", "--shots", 1, "OPTIM.MAX_EPOCH", 1, "TEST.NO_TEST", True)
    assert code == 0
    assert "not tested (TEST.NO_TEST)" in printed.out
    assert is_complete(tmp_path / "run")
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["metrics"] == {}
    assert len(results["loss_per_epoch"]) == 1
    words = ["--trainer", "CoOp", "--shots", 1, "--eval-only", "--model-dir", tmp_path / "run"]
    assert command(*words, out=None)[0] == 0


def test_a_dassl_trainer_without_a_test(own, capsys):  # noqa: F811
    assert train.main(words(own, "TEST.NO_TEST", "True")) == 0
    assert "not tested" in capsys.readouterr().out
    assert json.loads((own / "run" / "results.json").read_text())["metrics"] == {}
    assert list((own / "run" / "learner").glob("model.pth.tar-3"))
