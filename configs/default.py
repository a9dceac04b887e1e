"""The default configuration: the framework's, this project's own keys, and a node of settings for every method."""

from copy import copy
from functools import lru_cache

from yacs.config import CfgNode as CN

import datasets  # noqa: F401 - registers the data sets
import trainers  # noqa: F401 - registers the methods
from configs.declared import default_settings, is_method
from configs.names import PROTOCOLS
from dassl.config import declare, get_cfg_default
from dassl.config.schema import Settings, declarations, setting
from dassl.engine import TRAINER_REGISTRY
from dassl.errors import shown
from prompts import template_problem
from trainers.precision import NAMES as PRECISIONS


def _template_problem(template: str) -> str:
    return template_problem(template) if template else ""


class Root(Settings):
    PROTOCOL: str = setting("few_shot", "how runs are trained and tested", choices=PROTOCOLS)
    PUBLISHED: bool = setting(False, "follow the official code where it differs from the paper")
    FEATURES: str = setting(
        "ahead", "features of a frozen image tower: ahead of the training, or in its steps", choices=("ahead", "online")
    )
    FEATURE_PREC: str = setting("fp32", "arithmetic of image features that are encoded ahead", choices=PRECISIONS)
    TEXT_PADDING: str = setting(
        "longest", "prompts are padded to the longest, or to the backbone's context", choices=("longest", "context")
    )


class Backbone(Settings):
    PATH: str = setting("", "folder with the weights; '' for the backbone's own source", is_path=True)


class Dataset(Settings):
    SUBSAMPLE_CLASSES: str = setting("all", "classes of the training", choices=("all", "base", "new"))
    FOLDER: str = setting("", "folder of the data set in DATASET.ROOT, for the data set Folder", is_path=True)
    CLASSES: tuple[str, ...] = setting((), "class names in label order, for the data set Folder; () for its folders")
    PROMPTS: str = setting("", "prompt file; '' for the data set's own, of which Folder has none", is_path=True)
    TEMPLATE: str = setting(
        "", "clinical template instead of the prompt file's; '' for that one", check=_template_problem
    )
    DUPLICATES: str = setting(
        "warn", "images of equal content in training and test", choices=("warn", "error", "allow")
    )
    GROUP: str = setting("", "what names the patient: a regular expression on the path, or a column of images.csv")
    FOLDS: int = setting(0, "folds of a cross-validation; 0 for none", at_least=2, at_most=1000, also=(0,))
    FOLD: int = setting(1, "the fold that is tested, from 1; read with FOLDS above 0", at_least=1, at_most=1000)

    def problem(self) -> str:
        if self.FOLDS and self.FOLD > self.FOLDS:
            return f"FOLD is {self.FOLD}; it must be at most DATASET.FOLDS, {self.FOLDS}"
        if any(not name.strip() for name in self.CLASSES):
            return f"CLASSES is {shown(self.CLASSES)}; it must hold no empty name"
        if len(set(self.CLASSES)) < len(self.CLASSES):
            return f"CLASSES is {shown(self.CLASSES)}; it must hold no name more than once"
        return ""


PROJECT_KEYS: dict[str, type[Settings]] = {"": Root, "MODEL.BACKBONE": Backbone, "DATASET": Dataset}
for _node, _group in PROJECT_KEYS.items():
    declare(_node, _group)


def default_cfg(trainer: str = "") -> CN:
    """A fresh copy of the default configuration; a plain Dassl `trainer` gets a node that takes every key."""
    cfg = _copied(_default_cfg(tuple(TRAINER_REGISTRY.registered_names())))
    if trainer and not is_method(trainer):
        cfg.TRAINER[trainer.upper()].set_new_allowed(True)
    return cfg


@lru_cache
def _default_cfg(names: tuple[str, ...]) -> CN:
    cfg = get_cfg_default()
    for node, group in PROJECT_KEYS.items():
        inner = cfg
        for part in filter(None, node.split(".")):
            inner = inner[part]
        inner.update({name: key.default for name, key in declarations(group).items()})
    for name in names:
        cfg.TRAINER[name.upper()] = CN(dict(default_settings(name)))
    return cfg


def _copied(node: CN) -> CN:
    """A copy of an unfrozen configuration; copy.deepcopy is slower, and a sweep makes hundreds."""
    new = CN()
    for key, value in node.items():
        new[key] = _copied(value) if isinstance(value, CN) else copy(value)
    return new
