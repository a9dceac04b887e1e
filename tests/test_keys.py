"""Keys that are declared as read are those that the code reads; what nobody reads is refused, or named in a warning."""

from typing import ClassVar

import pytest
from yacs.config import CfgNode

from configs import Choice, build_cfg, method_names, read_keys, unread
from configs.keys import readable
from configs.layers import method_layers, section_names
from configs.names import PROTOCOLS, dataset_names
from dassl.engine import TRAINER_REGISTRY, TrainerX, build_trainer
from dassl.errors import InputError
from tests.registered import METHODS


class Recording(CfgNode):
    """A configuration that remembers the full keys that were read."""

    read: ClassVar[set[str]] = set()

    @classmethod
    def of(cls, node, prefix=""):
        new = cls()
        for key, value in node.items():
            new[key] = cls.of(value, f"{prefix}{key}.") if isinstance(value, CfgNode) else value
        new.__dict__["prefix"] = prefix
        return new

    def __getitem__(self, key):
        Recording.read.add(f"{self.__dict__.get('prefix', '')}{key}")
        return super().__getitem__(key)


# Read by the framework for trainers of other projects, without effect on the methods here.
WITHOUT_EFFECT = {"DATASET.SOURCE_DOMAINS", "DATALOADER.K_TRANSFORMS", "DATALOADER.RETURN_IMG0"}
WITHOUT_EFFECT |= {"INPUT.SIZE", "INPUT.PIXEL_MEAN", "INPUT.PIXEL_STD"}  # replaced by the backbone's
NO_TRAINING = {"OPTIM.MAX_EPOCH"}  # read by the constructor of every trainer
# Read outside the trainer, only on a machine with a GPU, or only in epochs before the last.
NOT_READ_HERE = {"PUBLISHED", "USE_CUDA", "TEST.SPLIT"}
NOT_READ_HERE |= {"INPUT.DEPTH", "INPUT.FRAMES", "INPUT.ORIENTATION", "INPUT.MAX_PIXELS"}  # read for some images only
NOT_READ_HERE |= {"DATASET.DUPLICATES", "DATASET.GROUP", "DATASET.FOLDS"}  # read where a split is made
AUGMENTED = "['random_resized_crop', 'random_crop', 'colorjitter', 'randomgrayscale', 'gaussian_blur', 'normalize']"
RUNS = {
    "sgd": ("CoOp", []),
    "adam": ("CoOp", ["OPTIM.NAME", "adam", "OPTIM.WARMUP_TYPE", "linear", "INPUT.TRANSFORMS", AUGMENTED]),
    "rmsprop": ("CoOp", ["OPTIM.NAME", "rmsprop", "OPTIM.LR_SCHEDULER", "multi_step", "OPTIM.WARMUP_EPOCH", "-1"]),
    "zero-shot": ("ZeroShot", []),
    "own optimiser": ("TipAdapterF", ["TRAINER.TIPADAPTERF.SEARCH_STEPS", "3"]),
    "own optimiser and steps": ("CLIPLoRA", []),
    "closed form": ("TipAdapter", ["TRAINER.TIPADAPTER.SEARCH_STEPS", "3"]),
    "closed form with iterations": ("LPpp", []),
}


@pytest.mark.parametrize("name", RUNS)
def test_declared_keys_are_those_that_a_run_reads(name, phantom_root, tmp_path):
    method, opts = RUNS[name]
    opts = ["OPTIM.MAX_EPOCH", "2", "DATALOADER.NUM_WORKERS", "0", "OUTPUT_DIR", str(tmp_path), *opts]
    cfg = build_cfg(Choice(method, shots=1, root=str(phantom_root), opts=opts, accept_unread=True))
    recording = Recording.of(cfg)
    recording.freeze()
    Recording.read.clear()
    build_trainer(recording).train()
    leaves = {f"{prefix}{key}" for prefix, node in nodes(cfg) for key in node if not isinstance(node[key], CfgNode)}
    own = {key for key in leaves if key.startswith(f"TRAINER.{method.upper()}.")}
    read = (Recording.read & leaves) - own
    assert read - WITHOUT_EFFECT - (NO_TRAINING if method == "ZeroShot" else set()) <= set(readable(method, "Phantom"))
    assert read_keys(cfg) - own - read <= NOT_READ_HERE


def nodes(cfg, prefix=""):
    yield prefix, cfg
    for key, value in cfg.items():
        if isinstance(value, CfgNode):
            yield from nodes(value, f"{prefix}{key}.")


@pytest.mark.parametrize("method", METHODS)
def test_sections_hold_only_keys_that_are_read(method):
    for protocol in PROTOCOLS:
        for dataset in dataset_names():
            layers = method_layers(method, [*section_names(protocol, dataset, 16), "published"])
            cfg = build_cfg(Choice(method, dataset=dataset))
            assert [unread(layer.values, cfg) for layer in layers] == [{} for _ in layers]


@pytest.mark.parametrize(
    ("method", "pairs", "message"),
    [
        ("CoOp", "OPTIM.ADAM_BETA1 0.8", "it is read only with OPTIM.NAME adam or amsgrad or adamw or radam. Keys"),
        ("CoOp", "OPTIM.STAGED_LR True", "CoOp on the data set Phantom does not read it. Keys that are read: OPTIM"),
        ("CoOp", "OPTIM.NAME adam OPTIM.MOMENTUM 0.8", "OPTIM.MOMENTUM has no effect: it is read only with"),
        ("CoOp", "OPTIM.WARMUP_MIN_LR 0.8", "it is read only with OPTIM.WARMUP_TYPE linear"),
        ("CoOp", "OPTIM.WARMUP_EPOCH 0 OPTIM.WARMUP_CONS_LR 0.8", "it is read only with OPTIM.WARMUP_EPOCH above 0"),
        ("CoOp", "INPUT.GB_K 3", "INPUT.GB_K has no effect: it is read only with INPUT.TRANSFORMS gaussian_blur"),
        ("CoOp", "INPUT.SIZE (96,96)", "INPUT.SIZE has no effect"),
        ("CoOp", "DATASET.CLASSES ('a','b')", "it is read only with DATASET.NAME Folder"),
        ("CoOp", "DATALOADER.TRAIN_U.BATCH_SIZE 8", "DATALOADER.TRAIN_U.BATCH_SIZE has no effect"),
        ("CoOp", "TRAINER.COCOOP.N_CTX 8", "does not read it. Keys that are read: TRAINER.COOP.CLASS_TOKEN_POSITION"),
        ("ZeroShot", "OPTIM.MAX_EPOCH 2", "OPTIM.MAX_EPOCH has no effect"),
        ("TipAdapter", "OPTIM.LR 0.1", "OPTIM.LR has no effect: TipAdapter on the data set Phantom does not read it"),
        ("LPpp", "OPTIM.WARMUP_EPOCH 2", "OPTIM.WARMUP_EPOCH has no effect"),
        ("TipAdapterF", "OPTIM.NAME adam", "OPTIM.NAME has no effect"),
        ("CLIPLoRA", "OPTIM.MOMENTUM 0.8", "Keys that are read: OPTIM.ADAM_BETA1, OPTIM.ADAM_BETA2, OPTIM.LR, "),
    ],
)  # fmt: skip
def test_pairs_without_effect_are_refused(method, pairs, message):
    with pytest.raises(InputError, match="command line: ") as caught:
        build_cfg(Choice(method, opts=pairs.split()))
    assert message in str(caught.value)
    assert method == build_cfg(Choice(method, opts=pairs.split(), accept_unread=True)).TRAINER.NAME


@pytest.mark.parametrize(
    "pairs", ["OPTIM.MAX_EPOCH 3", "TRAIN.CHECKPOINT_FREQ 20", "OPTIM.LR 0.1", "RESUME x", "SEED 3"]
)
def test_pairs_that_are_read_are_accepted(pairs):
    build_cfg(Choice("CoOp", opts=pairs.split()))


def test_whole_files_may_hold_keys_without_effect_and_one_warning_names_them(tmp_path, capsys):
    (tmp_path / "data.yaml").write_text("DATASET:\n  NAME: Phantom\n  ALL_AS_UNLABELED: True\n  NUM_LABELED: 4\n")
    (tmp_path / "method.yaml").write_text(
        "OPTIM:\n  NAME: sgd\n  LR: 0.5\n  ADAM_BETA1: 0.8\nMODEL:\n  BACKBONE:\n    NAME: ViT-B/16\n"
        "TRAINER:\n  COCOOP:\n    N_CTX: 2\n"
    )
    files = {"dataset_config_file": str(tmp_path / "data.yaml"), "config_file": str(tmp_path / "method.yaml")}
    cfg = build_cfg(Choice("CoOp", **files))
    assert (cfg.OPTIM.LR, cfg.MODEL.BACKBONE.NAME) == (0.5, "Tiny")
    assert capsys.readouterr().err == (
        "warning: keys of the configuration files that have no effect in this run: DATASET.ALL_AS_UNLABELED, "
        "DATASET.NUM_LABELED, MODEL.BACKBONE.NAME, OPTIM.ADAM_BETA1, TRAINER.COCOOP.N_CTX\n"
    )
    (tmp_path / "method.yaml").write_text("OPTIM.LR: 0.5\n")
    build_cfg(Choice("CoOp", config_file=str(tmp_path / "method.yaml")))
    assert capsys.readouterr().err == ""


def test_a_plain_dassl_trainer_may_read_every_key(monkeypatch):
    objects = {**TRAINER_REGISTRY._objects, "Plain": type("Plain", (TrainerX,), {})}
    monkeypatch.setattr(TRAINER_REGISTRY, "_objects", objects)
    pairs = ["OPTIM.STAGED_LR", "True", "TRAINER.PLAIN.PREC", "fp16", "MODEL.HEAD.BN", "False"]
    cfg = build_cfg(Choice("Plain", opts=pairs))
    assert (cfg.TRAINER.PLAIN.PREC, cfg.OPTIM.STAGED_LR, cfg.MODEL.HEAD.BN) == ("fp16", True, False)
    assert (cfg.OPTIM.NAME, read_keys(cfg)) == ("sgd", None)
    with pytest.raises(InputError, match=r"unknown configuration key 'OPTIM\.LRR'"):
        build_cfg(Choice("Plain", opts=["OPTIM.LRR", "1"]))
    assert "Plain" not in method_names()
