"""The training framework: CoOp-style code runs on it; schedules, transforms, checkpoints and small tools."""

import math
import random

import pytest
import torch
from PIL import Image
from yacs.config import CfgNode as CN

from configs import Choice, build_cfg
from dassl.config import clean_cfg, get_cfg_default
from dassl.data.transforms import build_transform
from dassl.engine import TrainerBase, build_trainer
from dassl.errors import InputError, unknown_name
from dassl.optim import build_lr_scheduler, build_optimizer
from dassl.utils import (
    AverageMeter,
    MetricMeter,
    Registry,
    atomic_path,
    collect_env_info,
    load_checkpoint,
    seeded,
    set_random_seed,
    setup_logger,
    stream_seed,
)
from dassl.utils.logger import restore_stdout
from tests import coop_style


@pytest.fixture
def old_cfg(tmp_path):
    """A configuration, made in the same way as in CoOp's train.py."""
    coop_style.make_images(tmp_path / "data")
    (tmp_path / "method.yaml").write_text(
        "DATALOADER:\n  TRAIN_X:\n    BATCH_SIZE: 4\n  NUM_WORKERS: 0\n"
        'INPUT:\n  SIZE: (8, 8)\n  TRANSFORMS: ["random_flip", "normalize"]\n'
        'OPTIM:\n  NAME: "sgd"\n  LR: 0.5\n  MAX_EPOCH: 8\n  LR_SCHEDULER: "cosine"\n  WARMUP_EPOCH: 1\n'
        '  WARMUP_TYPE: "constant"\n  WARMUP_CONS_LR: 1e-5\nTRAIN:\n  PRINT_FREQ: 5\n'
    )
    cfg = get_cfg_default()
    cfg.TRAINER.MEANCOLOUR = CN()
    cfg.TRAINER.MEANCOLOUR.PREC = "fp32"
    cfg.merge_from_file(str(tmp_path / "method.yaml"))
    cfg.merge_from_list(["DATASET.NAME", "Shades", "TRAINER.NAME", "MeanColour", "DATASET.NUM_SHOTS", 4, "SEED", 1])
    cfg.merge_from_list(["DATASET.ROOT", str(tmp_path / "data"), "OUTPUT_DIR", str(tmp_path / "out")])
    return cfg


def test_coop_style_trainer_and_data_set_run_unchanged(old_cfg, tmp_path, capsys):
    set_random_seed(old_cfg.SEED)
    setup_logger(old_cfg.OUTPUT_DIR)
    try:
        trainer = build_trainer(old_cfg)
        assert len(trainer.dm.dataset.train_x) == 12
        trainer.train()
    finally:
        restore_stdout()
    log = (tmp_path / "out" / "log.txt").read_text()
    assert "* accuracy: 100.0%" in log
    assert "epoch [8/8]" in log
    assert log in capsys.readouterr().out
    assert (tmp_path / "out" / "learner" / "model.pth.tar-8").is_file()
    again = build_trainer(old_cfg)
    assert again.test() < 100
    again.load_model(str(tmp_path / "out"), epoch=8)
    assert again.test() == 100


def test_coop_style_run_resumes(old_cfg, tmp_path):
    old_cfg.TRAIN.CHECKPOINT_FREQ = 3
    set_random_seed(1)
    whole = build_trainer(old_cfg)
    whole.train()
    set_random_seed(1)  # CoOp-style code draws its few-shot subset from the global generator
    part = build_trainer(old_cfg)
    (tmp_path / "out" / "learner" / "checkpoint").write_text("model.pth.tar-3\n")
    part.train()
    assert part.start_epoch == 3
    assert torch.equal(part.model.head.weight, whole.model.head.weight)


def test_checkpoint_freq_saves_checkpoints_that_load_by_epoch(old_cfg, tmp_path):
    old_cfg.TRAIN.CHECKPOINT_FREQ = 3
    trainer = build_trainer(old_cfg)
    trainer.train()
    folder = tmp_path / "out" / "learner"
    assert {path.name for path in folder.iterdir()} == {
        "checkpoint",
        *(f"model.pth.tar-{epoch}" for epoch in (3, 6, 8)),
    }
    last = trainer.model.head.weight.detach().clone()
    TrainerBase.load_model(trainer, str(tmp_path / "out"), epoch=3)
    stored = load_checkpoint(str(folder / "model.pth.tar-3"))
    assert stored["epoch"] == 3
    assert torch.equal(trainer.model.head.weight, stored["state_dict"]["weight"])
    assert not torch.equal(trainer.model.head.weight, last)
    with pytest.raises(InputError, match=r"model.pth.tar-4' does not exist"):
        TrainerBase.load_model(trainer, str(tmp_path / "out"), epoch=4)


def test_coop_style_subset_is_drawn_by_random_sample(old_cfg):
    set_random_seed(3)
    drawn = [item.impath for item in build_trainer(old_cfg).dm.dataset.train_x]
    random.seed(3)
    everything = coop_style.Shades.read_data(build_trainer(old_cfg).dm.dataset, "train")
    random.seed(3)
    by_label = [[item.impath for item in everything if item.label == label] for label in range(3)]
    assert drawn == [path for paths in by_label for path in random.sample(paths, 4)]


def test_methods_of_this_project_run_on_a_coop_style_data_set(old_cfg, tmp_path):
    opts = ["DATASET.NAME", "Shades", "OPTIM.MAX_EPOCH", "1", "OUTPUT_DIR", str(tmp_path / "coop")]
    trainer = build_trainer(build_cfg(Choice("CoOp", shots=2, root=old_cfg.DATASET.ROOT, opts=opts)))
    trainer.train()
    assert trainer.evaluation["all"]["total"] == 30


def learning_rates(**words):
    cfg = get_cfg_default().OPTIM
    cfg.update({"NAME": "sgd", "LR": 0.1, "MAX_EPOCH": 5, **words})
    optimizer = build_optimizer(torch.nn.Linear(1, 1), cfg)
    schedule, rates = build_lr_scheduler(optimizer, cfg), []
    for _ in range(5):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return rates


def test_learning_rates_by_hand():
    cosine = [0.05 * (1 + math.cos(math.pi * e / 5)) for e in range(5)]
    assert learning_rates(LR_SCHEDULER="cosine") == pytest.approx(cosine)
    constant = {"LR_SCHEDULER": "cosine", "WARMUP_EPOCH": 1, "WARMUP_TYPE": "constant"}
    assert learning_rates(**constant) == pytest.approx([1e-5, *cosine[:4]])
    assert learning_rates(**constant, WARMUP_RECOUNT=False) == pytest.approx([1e-5, *cosine[1:]])
    linear = {"LR_SCHEDULER": "single_step", "WARMUP_EPOCH": 2, "WARMUP_TYPE": "linear"}
    assert learning_rates(**linear, STEPSIZE=(2,)) == pytest.approx([1e-5, 0.05, 0.1, 0.1, 0.01])
    assert learning_rates(LR_SCHEDULER="multi_step", STEPSIZE=(1, 3)) == pytest.approx([0.1, 0.01, 0.01, 1e-3, 1e-3])
    with pytest.raises(InputError, match="unknown schedule"):
        learning_rates(LR_SCHEDULER="cosin")


@pytest.mark.parametrize("name", ["adam", "amsgrad", "sgd", "rmsprop", "radam", "adamw"])
def test_every_optimizer_moves_the_weights(name):
    cfg = get_cfg_default().OPTIM
    cfg.NAME = name
    layer = torch.nn.Linear(2, 1)
    before = layer.weight.detach().clone()
    optimizer = build_optimizer(layer, cfg)
    layer(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    assert not torch.equal(layer.weight, before)


def transform(*choices, train=True):
    cfg = get_cfg_default()
    cfg.INPUT.SIZE = (24, 24)
    return build_transform(cfg, is_train=train, choices=list(choices))


def test_transforms_by_name():
    image = Image.effect_noise((20, 30), 60).convert("RGB")
    names = ["random_resized_crop", "random_flip", "center_crop", "random_crop", "random_translation", "colorjitter"]
    names += ["randomgrayscale", "gaussian_blur", "randomerasing", "normalize", "instance_norm"]
    for name in names:
        assert transform(name)(image).shape == (3, 24, 24), name
    plain, normal = transform(train=False)(image), transform("normalize", train=False)(image)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    torch.testing.assert_close(normal, (plain - mean[:, None, None]) / std[:, None, None])
    instance = transform("instance_norm")(image)
    torch.testing.assert_close(instance.mean((1, 2)), torch.zeros(3), atol=1e-5, rtol=0)
    with pytest.raises(InputError, match=r"unknown transform .*'random_flipp'. Did you mean 'random_flip'"):
        transform("random_flipp")


def test_registry_refuses_a_name_that_is_registered_already():
    registry = Registry("animal")

    @registry.register()
    class Cat: ...

    assert registry.get("Cat") is Cat
    assert "Cat" in registry
    with pytest.raises(KeyError, match="registered already"):
        registry.register(Cat)
    with pytest.raises(InputError, match=r"unknown animal 'cat'. Did you mean 'Cat'\? Available: Cat"):
        registry.get("cat")
    assert "Did you mean" not in str(unknown_name("animal", "zebra", ["Cat"]))


def test_clean_cfg_keeps_one_trainer():
    cfg = get_cfg_default()
    cfg.TRAINER.COOP, cfg.TRAINER.COCOOP = CN({"N_CTX": 4}), CN({"N_CTX": 4})
    clean_cfg(cfg, "CoOp")
    assert list(cfg.TRAINER) == ["NAME", "COOP"]


def test_meters():
    meter = AverageMeter()
    for value in (1.0, torch.tensor(3.0)):
        meter.update(value)
    assert (meter.val, meter.avg) == (3, 2)
    moving = AverageMeter(ema=True)
    for value in (1.0, 2.0):
        moving.update(value)
    assert moving.avg == pytest.approx(1.1)
    metrics = MetricMeter()
    metrics.update({"loss": 2.0})
    metrics.update({"loss": 1.0})
    assert str(metrics) == "loss 1.0000 (1.5000)"


def test_random_streams():
    assert stream_seed("a", 1) == stream_seed("a", 1) != stream_seed("a", 2)
    torch.manual_seed(0)
    expected = torch.rand(2)
    torch.manual_seed(0)
    with seeded(5):
        inside = (random.random(), torch.rand(1).item())
    assert torch.equal(torch.rand(2), expected)
    with seeded(5):
        assert (random.random(), torch.rand(1).item()) == inside


def test_atomic_writing_leaves_the_old_file_on_failure(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")

    def fail():
        with atomic_path(path) as temporary:
            temporary.write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_checkpoints_that_hold_code_are_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (print, ("unpickled!",))

    torch.save({"state_dict": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(InputError, match="cannot be read safely"):
        load_checkpoint(str(tmp_path / "evil.pth"))
    with pytest.raises(InputError, match="does not exist"):
        load_checkpoint(str(tmp_path / "none.pth"))


def test_environment_is_described():
    assert f"torch: {torch.__version__}" in collect_env_info()
