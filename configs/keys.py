"""Which configuration keys are read in a run: always, with certain values of another key, or by the method alone."""

import sys
from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

from yacs.config import CfgNode

from configs.declared import declared, default_settings, is_method
from dassl.data.datasets import DATASET_REGISTRY
from dassl.errors import InputError
from datasets.folder import Folder, FolderDataset
from datasets.given import Given


class Condition(NamedTuple):
    """A key is read only where another key has one of some values; of a list, one element is enough."""

    key: str
    values: Collection[Any]
    in_words: str


def _one_of(key: str, *values: str) -> Condition:
    return Condition(key, values, f"{key} {' or '.join(values)}")


ADAM = _one_of("OPTIM.NAME", "adam", "amsgrad", "adamw", "radam")
SGD = _one_of("OPTIM.NAME", "sgd")
STEPS = _one_of("OPTIM.LR_SCHEDULER", "single_step", "multi_step")
WARMUP = Condition("OPTIM.WARMUP_EPOCH", range(1, sys.maxsize), "OPTIM.WARMUP_EPOCH above 0")
JITTER = _one_of("INPUT.TRANSFORMS", "colorjitter")
BLUR = _one_of("INPUT.TRANSFORMS", "gaussian_blur")
FOLDER = _one_of("DATASET.NAME", "Folder")
FOLDS = Condition("DATASET.FOLDS", range(2, sys.maxsize), "DATASET.FOLDS above 0")
Keys = dict[str, Condition | None]  # None: read under no condition

# Read for every method and data set of this project.
GENERAL: Keys = {
    **dict.fromkeys(("SEED", "USE_CUDA", "VERBOSE", "OUTPUT_DIR", "PROTOCOL", "PUBLISHED", "TRAINER.NAME")),
    **dict.fromkeys(("FEATURES", "FEATURE_PREC", "TEXT_PADDING")),
    **dict.fromkeys(("MODEL.BACKBONE.NAME", "MODEL.BACKBONE.PATH", "MODEL.INIT_WEIGHTS")),
    **dict.fromkeys(("DATASET.NAME", "DATASET.ROOT", "DATASET.NUM_SHOTS", "DATASET.SUBSAMPLE_CLASSES")),
    **dict.fromkeys(("DATALOADER.NUM_WORKERS", "DATALOADER.REUSED_VIEWS")),
    **dict.fromkeys(("DATALOADER.TRAIN_X.SAMPLER", "DATALOADER.TRAIN_X.BATCH_SIZE")),
    **dict.fromkeys(("DATALOADER.TEST.SAMPLER", "DATALOADER.TEST.BATCH_SIZE")),
    **dict.fromkeys(("TEST.EVALUATOR", "TEST.PER_CLASS_RESULT", "TEST.COMPUTE_CMAT", "TEST.SPLIT")),
    **dict.fromkeys(("INPUT.INTERPOLATION", "INPUT.TRANSFORMS", "INPUT.NO_TRANSFORM")),
    **dict.fromkeys(("INPUT.DEPTH", "INPUT.FRAMES", "INPUT.ORIENTATION", "INPUT.MAX_PIXELS")),
    **dict.fromkeys(("DATASET.DUPLICATES", "DATASET.GROUP", "DATASET.FOLDS")),
    **dict.fromkeys(("DATASET.PROMPTS", "DATASET.TEMPLATE")),
    "DATASET.FOLD": FOLDS,
    "INPUT.RRCROP_SCALE": _one_of("INPUT.TRANSFORMS", "random_resized_crop"),
    "INPUT.CROP_PADDING": _one_of("INPUT.TRANSFORMS", "random_crop"),
    "INPUT.COLORJITTER_B": JITTER,
    "INPUT.COLORJITTER_C": JITTER,
    "INPUT.COLORJITTER_S": JITTER,
    "INPUT.COLORJITTER_H": JITTER,
    "INPUT.RGS_P": _one_of("INPUT.TRANSFORMS", "randomgrayscale"),
    "INPUT.GB_P": BLUR,
    "INPUT.GB_K": BLUR,
    "DATASET.FOLDER": FOLDER,
    "DATASET.CLASSES": FOLDER,
}
# Read by methods that learn something, and by those of them that take training steps.
LEARNING: Keys = dict.fromkeys(("OPTIM.MAX_EPOCH", "RESUME", "TEST.FINAL_MODEL", "TEST.NO_TEST"))
STEPPING: Keys = {"TRAIN.PRINT_FREQ": None, "TRAIN.CHECKPOINT_FREQ": None}
# Read by the framework's optimisers and schedules. A method with its own optimiser declares the keys that it `reads`.
OPTIMIZATION: Keys = {
    **dict.fromkeys(("OPTIM.NAME", "OPTIM.LR", "OPTIM.WEIGHT_DECAY", "OPTIM.LR_SCHEDULER", "OPTIM.WARMUP_EPOCH")),
    "OPTIM.MOMENTUM": _one_of("OPTIM.NAME", "sgd", "rmsprop"),
    "OPTIM.SGD_DAMPNING": SGD,
    "OPTIM.SGD_NESTEROV": SGD,
    "OPTIM.RMSPROP_ALPHA": _one_of("OPTIM.NAME", "rmsprop"),
    "OPTIM.ADAM_BETA1": ADAM,
    "OPTIM.ADAM_BETA2": ADAM,
    "OPTIM.STEPSIZE": STEPS,
    "OPTIM.GAMMA": STEPS,
    "OPTIM.WARMUP_TYPE": WARMUP,
    "OPTIM.WARMUP_RECOUNT": WARMUP,
    "OPTIM.WARMUP_CONS_LR": _one_of("OPTIM.WARMUP_TYPE", "constant"),
    "OPTIM.WARMUP_MIN_LR": _one_of("OPTIM.WARMUP_TYPE", "linear"),
}
# What the constructor of a data set class from outside this project may read.
OF_OTHER_DATASETS = (
    "DATASET.FOLDER",
    "DATASET.CLASSES",
    "DATASET.SOURCE_DOMAINS",
    "DATASET.TARGET_DOMAINS",
    "DATASET.NUM_LABELED",
    "DATASET.VAL_PERCENT",
)
# Keys that other frameworks of the CoOp family know and that are not in the default configuration here.
FOREIGN = {"INPUT.GN_MEAN", "INPUT.GN_STD", "INPUT.RANDAUGMENT_N", "INPUT.RANDAUGMENT_M", "DATASET.STL10_FOLD"}
FOREIGN |= {"DATASET.CIFAR_C_TYPE", "DATASET.CIFAR_C_LEVEL", "DATASET.ALL_AS_UNLABELED"}


def readable(trainer: str, dataset: str) -> Keys:
    """The keys that a method reads on a data set, given by the registered name, and under which conditions."""
    method = declared(trainer)
    keys = {**GENERAL, **dict.fromkeys(f"TRAINER.{trainer.upper()}.{name}" for name in default_settings(trainer))}
    if method.trainable_parameters:
        keys |= LEARNING
        if not method.closed_form:
            keys |= STEPPING if method.reads else STEPPING | OPTIMIZATION
    if _reads_more(DATASET_REGISTRY.get(dataset)):
        keys |= dict.fromkeys(OF_OTHER_DATASETS)
    return keys | dict.fromkeys(method.reads)


def _reads_more(dataset: Any) -> bool:
    """Whether a data set class has a constructor of its own, which may read every key of DATASET."""
    return dataset not in (Folder, Given) and getattr(dataset, "__init__", None) is not FolderDataset.__init__


def unread(keys: Iterable[str], cfg: CfgNode) -> dict[str, str]:
    """Those of some keys that are not read in a run, each with the reason in words; empty for a plain trainer."""
    if not is_method(cfg.TRAINER.NAME):
        return {}
    known = readable(cfg.TRAINER.NAME, cfg.DATASET.NAME)
    reasons = {key: _reason(key, known, cfg) for key in keys}
    return {key: reason for key, reason in reasons.items() if reason}


def read_keys(cfg: CfgNode) -> frozenset[str] | None:
    """The keys that are read in a run; None where this is not known, because the trainer is a plain Dassl trainer."""
    if not is_method(cfg.TRAINER.NAME):
        return None
    known = readable(cfg.TRAINER.NAME, cfg.DATASET.NAME)
    return frozenset(key for key in known if not _reason(key, known, cfg))


def refuse_unread(where: str, named: Iterable[str], cfg: CfgNode) -> None:
    """Raise an InputError that names the first key that is not read in a run, why, and the keys that are."""
    for key, reason in unread(named, cfg).items():
        raise _without_effect(where, key, reason, cfg)


def refuse_never_read(where: str, named: Iterable[str], cfg: CfgNode, set_elsewhere: Collection[str]) -> None:
    """Refuse keys that the method never reads on the data set, whatever the other keys are; for files of this project.

    Args:
        where: the place of the keys, for the message.
        named: the keys.
        cfg: the whole configuration.
        set_elsewhere: keys that a file must not set.
    """
    if not is_method(cfg.TRAINER.NAME):
        return
    known = readable(cfg.TRAINER.NAME, cfg.DATASET.NAME)
    for key in named:
        if key in set_elsewhere:
            raise InputError(f"{where}: {key} has no effect in a file: the command line sets it")
        if key not in known:
            raise _without_effect(where, key, _reason(key, known, cfg), cfg)


def _without_effect(where: str, key: str, reason: str, cfg: CfgNode) -> InputError:
    """The error for a key that is not read: it names those of the same node that are, or all."""
    node = f"TRAINER.{cfg.TRAINER.NAME.upper()}" if key.startswith("TRAINER.") else key.rpartition(".")[0]
    read = read_keys(cfg) or frozenset()
    near = sorted(other for other in read if other.rpartition(".")[0] == node) or sorted(read)
    return InputError(f"{where}: {key} has no effect: {reason}. Keys that are read: {', '.join(near)}")


def _reason(key: str, known: Keys, cfg: CfgNode) -> str:
    """Why a key is not read; "" if it is."""
    if key not in known:
        return f"{cfg.TRAINER.NAME} on the data set {cfg.DATASET.NAME} does not read it"
    condition = known[key]
    if condition is None:
        return ""
    node: Any = cfg
    for part in condition.key.split("."):
        node = node[part]
    found = list(node) if isinstance(node, list | tuple) else [node]
    if any(value in condition.values for value in found):
        return _reason(condition.key, known, cfg)
    return f"it is read only with {condition.in_words}"
