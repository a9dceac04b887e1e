"""Resuming an interrupted run: only with its own settings, wherever it was started, and never from a damaged state."""

import json
from pathlib import Path

import pytest
import torch
import yaml

import clip
import train
from dassl.errors import InputError
from tests.test_own_code import own, words  # noqa: F401
from trainers import checkpoint

EPOCHS = ["OPTIM.MAX_EPOCH", 3, "DATALOADER.TRAIN_X.BATCH_SIZE", 8, "TEST.NO_TEST", True]


def losses(trainer):
    return [value for _, value in trainer.history["train/loss"]]


@pytest.fixture
def interrupted(build):
    """A run that was interrupted after its second epoch."""
    trainer = build("CoOp", opts=EPOCHS)
    finish = trainer.after_epoch

    def interrupt():
        finish()
        if trainer.epoch == 1:
            raise KeyboardInterrupt

    trainer.after_epoch = interrupt
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    return Path(trainer.output_dir)


def state_of(folder):
    return torch.load(folder / checkpoint.STATE_FILE, weights_only=True)


def test_other_settings_are_refused_through_python(build, interrupted):
    before = (interrupted / checkpoint.STATE_FILE).read_bytes()
    for place in ("OUTPUT_DIR", "RESUME"):
        other = build("CoOp", opts=[*EPOCHS, "OPTIM.LR", 0.5, place, interrupted])
        with pytest.raises(InputError, match=r"(?s)with other settings.*-OPTIM.LR: 0.01\n\+OPTIM.LR: 0.5"):
            other.train()
    assert (interrupted / checkpoint.STATE_FILE).read_bytes() == before
    same = build("CoOp", opts=[*EPOCHS, "RESUME", interrupted, "TRAIN.PRINT_FREQ", 7])
    same.train()
    assert same.start_epoch == 2


def test_a_run_of_python_is_refused_and_resumed_on_the_command_line(command, interrupted):
    opts = [*map(str, EPOCHS), "DATALOADER.NUM_WORKERS", "0"]
    words = ["--trainer", "CoOp", "--shots", 1, "--output-dir", interrupted]
    code, printed = command(*words, *opts, "OPTIM.LR", 0.5, out=None)
    assert code == 2
    assert "-OPTIM.LR: 0.01\n+OPTIM.LR: 0.5" in printed.err
    code, printed = command(*words, *opts, out=None)
    assert code == 0, printed.err
    assert "after epoch 2" in printed.out


def test_a_state_without_settings_is_compared_with_config_yaml(build, interrupted):
    state = state_of(interrupted)
    del state["settings"], state["digest"]
    torch.save(state, interrupted / checkpoint.STATE_FILE)
    (interrupted / "config.yaml").write_text("OPTIM:\n  LR: 0.01\nINPUT:\n  PIXEL_MEAN: [0.5, 0.5, 0.5]\n")
    other = build("CoOp", opts=[*EPOCHS, "OPTIM.LR", 0.5, "OUTPUT_DIR", interrupted])
    with pytest.raises(InputError, match="with other settings"):
        other.train()
    (interrupted / "config.yaml").unlink()
    again = build("CoOp", opts=[*EPOCHS, "OUTPUT_DIR", interrupted])
    again.train()
    assert again.start_epoch == 2


def damages():
    def change(**values):
        return lambda state: state | values

    def without(name):
        return lambda state: {key: value for key, value in state.items() if key != name}

    def part(name, value):
        return lambda state: {key: v for key, v in (state | {name: value}).items() if key != "digest"}

    yield "one number changed", lambda state: state | {"learner": {k: v + 1e-7 for k, v in state["learner"].items()}}
    yield "a list", lambda state: [state]
    yield "state as text", change(state="done")
    yield "no state", without("state")
    yield "no about", without("about")
    yield "about of another type", change(about=7)
    yield "no learner", without("learner")
    for name, value in {
        "epoch as text": {"epoch": "2", "best_result": 0.0, "history": []},
        "history as number": {"epoch": 2, "best_result": 0.0, "history": 3},
        "epoch beyond the training": {"epoch": 99, "best_result": 0.0, "history": []},
    }.items():
        yield f"earlier file, {name}", part("state", value)
    for name, value in {
        "nan": torch.full((4, 128), torch.nan),
        "another shape": torch.zeros(3),
        "complex": torch.zeros(4, 128, dtype=torch.cfloat),
        "integers": torch.zeros(4, 128, dtype=torch.long),
        "sparse": torch.zeros(4, 128).to_sparse(),
        "huge": torch.zeros(1).expand(10**12),
        "list": [1, 2],
    }.items():
        yield f"earlier file, learner {name}", part("learner", {"context.ctx": value})
    yield "earlier file, optimiser as list", part("optim", [1])
    yield "earlier file, optimiser of another model", part("optim", {"state": {}, "param_groups": []})


@pytest.mark.parametrize(("name", "damage"), [pytest.param(*entry, id=entry[0]) for entry in damages()])
def test_a_damaged_state_starts_the_run_over_with_a_word(build, interrupted, capsys, name, damage):
    torch.save(damage(state_of(interrupted)), interrupted / checkpoint.STATE_FILE)
    again = build("CoOp", opts=[*EPOCHS, "OUTPUT_DIR", interrupted])
    before = {key: value.clone() for key, value in again.method.state_dict().items()}
    capsys.readouterr()
    assert again.resume_model_if_exist(str(interrupted)) == 0
    printed = capsys.readouterr().out
    assert "starting from the first epoch" in printed
    assert len(printed) < 600
    assert all(torch.equal(value, before[key]) for key, value in again.method.state_dict().items())
    assert not again.history["train/loss"]


def test_settings_of_a_dassl_trainer_are_compared(own, capsys):  # noqa: F811
    from configs import Choice, build_cfg
    from dassl.engine import build_trainer

    assert train.main(words(own)) == 0
    (own / "run" / "COMPLETE").unlink()

    def built(*opts):
        choice = Choice("OwnTrainer", shots=4, root=str(own), dataset=str(own / "own-shades.yaml"))
        choice.opts = ["OUTPUT_DIR", str(own / "run"), "OPTIM.MAX_EPOCH", "3", "DATALOADER.NUM_WORKERS", "0", *opts]
        return build_trainer(build_cfg(choice))

    (own / "run" / "config.yaml").unlink()
    with pytest.raises(InputError, match="with other settings"):
        built("OPTIM.LR", "0.5").train()
    built().train()
    assert "Resumed from" in capsys.readouterr().out
    for content in (b"PK cut short", b""):
        (own / "run" / "learner" / "model.pth.tar-3").write_bytes(content)
        again = built()
        assert again.resume_model_if_exist(str(own / "run")) == 0
        assert "starting from the first epoch" in capsys.readouterr().out
    (own / "run" / "learner" / "checkpoint").write_text("../../elsewhere\n")
    assert built().resume_model_if_exist(str(own / "run")) == 0


def test_config_yaml_says_what_the_backbone_used(command, tmp_path):
    words = ["--trainer", "ZeroShot"]
    assert command(*words)[0] == 0
    path = tmp_path / "run" / "config.yaml"
    stored = yaml.safe_load(path.read_text())
    tiny = json.loads((Path(clip.__file__).parent / "tiny" / "open_clip_config.json").read_text())["preprocess_cfg"]
    assert stored["INPUT"]["SIZE"] == [160, 160]
    assert (stored["INPUT"]["PIXEL_MEAN"], stored["INPUT"]["PIXEL_STD"]) == (tiny["mean"], tiny["std"])
    code, printed = command(*words)
    assert code == 0
    assert "complete already" in printed.out
    # Earlier versions stored the defaults; and a file may ask for another size, which has no effect.
    stored["INPUT"] |= {"SIZE": [224, 224], "PIXEL_MEAN": [0.485, 0.456, 0.406], "PIXEL_STD": [0.229, 0.224, 0.225]}
    path.write_text(yaml.safe_dump(stored))
    results = tmp_path / "run" / "results.json"
    results.write_text(results.read_text().replace('"settings_digest": "', '"settings_digest": "0'))
    code, printed = command(*words)
    assert code == 0
    assert "complete already" in printed.out
