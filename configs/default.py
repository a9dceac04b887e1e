"""The default configuration: the framework's, this project's own keys, and a node of settings for every method."""

from copy import copy
from functools import lru_cache

from yacs.config import CfgNode as CN

import datasets  # noqa: F401 - registers the data sets
import trainers  # noqa: F401 - registers the methods
from configs.declared import default_settings, is_method
from dassl.config import get_cfg_default
from dassl.engine import TRAINER_REGISTRY


def default_cfg(trainer: str = "") -> CN:
    """A fresh copy of the default configuration; a plain Dassl `trainer` gets a node that takes every key."""
    cfg = _copied(_default_cfg(tuple(TRAINER_REGISTRY.registered_names())))
    if trainer and not is_method(trainer):
        cfg.TRAINER[trainer.upper()].set_new_allowed(True)
    return cfg


@lru_cache
def _default_cfg(names: tuple[str, ...]) -> CN:
    cfg = get_cfg_default()
    cfg.PROTOCOL = "few_shot"
    cfg.PUBLISHED = False
    cfg.FEATURES = "ahead"  # "ahead": features of a frozen image tower are encoded before training; "online": in steps
    cfg.FEATURE_PREC = "fp32"  # arithmetic of image features that are encoded ahead; the names of PREC
    cfg.TEXT_PADDING = "longest"  # prompts padded to the "longest" of them, or to the backbone's "context" length
    cfg.MODEL.BACKBONE.PATH = ""  # folder with the weights; "" for the backbone's own source
    cfg.DATASET.SUBSAMPLE_CLASSES = "all"
    cfg.DATASET.FOLDER = ""  # this key and the next two are read by the data set "Folder"
    cfg.DATASET.CLASSES = ()
    cfg.DATASET.PROMPTS = ""
    for name in names:
        cfg.TRAINER[name.upper()] = CN(dict(default_settings(name)))
    return cfg


def _copied(node: CN) -> CN:
    """A copy of an unfrozen configuration; copy.deepcopy is slower, and a sweep makes hundreds."""
    new = CN()
    for key, value in node.items():
        new[key] = _copied(value) if isinstance(value, CN) else copy(value)
    return new
