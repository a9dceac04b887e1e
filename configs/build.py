"""Builds the configuration of a run: defaults, data set, method, what differs by section, then the command line."""

import contextlib
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from yacs.config import CfgNode

from clip import BACKBONE_REGISTRY
from configs import keys
from configs.declared import is_method, why_unsupported
from configs.default import default_cfg
from configs.layers import Layer, file_layer, merge, method_layers, section_names
from configs.names import DATASET_FILES, PROJECT, PROTOCOLS, dataset_names, is_path, method_file
from dassl.config import check_settings, clean_cfg
from dassl.data.datasets import DATASET_REGISTRY
from dassl.engine import TRAINER_REGISTRY
from dassl.errors import InputError, unknown_name

DEFAULT_BACKBONE = "Tiny"
SHARED_FILE = PROJECT / "configs" / "defaults.yaml"
# What the fields of a choice set: in a file these keys have no effect.
SET_BY_CHOICE = {"TRAINER.NAME", "MODEL.BACKBONE.NAME", "DATASET.NUM_SHOTS", "SEED", "PROTOCOL", "PUBLISHED"}


class RefusedError(InputError):
    """A method that cannot be used on a backbone, or under a protocol and its settings."""


@dataclass
class Choice:
    """A run in the words of the command line; `build_cfg` makes the configuration.

    Attributes:
        trainer: a method, or METHOD_BACKBONE.
        backbone: "" for Tiny.
        dataset: a name, or a path to a yaml file of one's own; the name of the data set is then that of the file.
        protocol, shots, seed: few_shot or base2new; training images per class; seed of all random choices.
        root: the data root; "" for data/ in the project.
        published: apply the section `published` of the method.
        dataset_config_file: the same as a path as `dataset`.
        config_file: a whole CoOp-style file instead of the shared file and the method's own.
        opts: KEY VALUE pairs, one after the other; a value is a text as on the command line, or of the key's type.
        opts_are: what messages call these pairs.
        accept_unread: accept pairs that this run does not read, because they serve other runs of a sweep.
    """

    trainer: str
    backbone: str = ""
    dataset: str = "phantom"
    protocol: str = "few_shot"
    shots: int = 16
    seed: int = 1
    root: str = ""
    published: bool = False
    dataset_config_file: str = ""
    config_file: str = ""
    opts: list[Any] = field(default_factory=list)
    opts_are: str = "command line"
    accept_unread: bool = False

    def __post_init__(self) -> None:
        """Resolve METHOD_BACKBONE, the default backbone and the data set's file, and check every name."""
        method, _, backbone = self.trainer.rpartition("_")
        if method and backbone in BACKBONE_REGISTRY:
            if self.backbone not in ("", backbone):
                raise InputError(f"--trainer {self.trainer} and --backbone {self.backbone} name different backbones")
            self.trainer, self.backbone = method, backbone
        self.backbone = self.backbone or DEFAULT_BACKBONE
        TRAINER_REGISTRY.get(self.trainer)
        BACKBONE_REGISTRY.get(self.backbone)
        if self.protocol not in PROTOCOLS:
            raise unknown_name("protocol", self.protocol, PROTOCOLS)
        if is_path(self.dataset):
            self.dataset_config_file = self.dataset_config_file or self.dataset
        if self.dataset_config_file:
            self.dataset = Path(self.dataset_config_file).stem
        elif self.dataset not in dataset_names():
            raise unknown_name("dataset", self.dataset, dataset_names())


def admitted_methods(protocol: str, backbone: str, opts: Sequence[str] = ()) -> list[str]:
    """The methods that can be used on a backbone under a protocol and settings, in the order of registration.

    Registered methods without a file in configs/trainers/, which need a --config-file, are not among them.
    """
    admitted = []
    for name in TRAINER_REGISTRY.registered_names():
        if method_file(name).is_file():
            with contextlib.suppress(RefusedError):
                choice = Choice(name, backbone=backbone, protocol=protocol, opts=list(opts), accept_unread=True)
                build_cfg(choice)
                admitted.append(name)
    return admitted


def build_cfg(choice: Choice) -> CfgNode:
    """The frozen configuration of a run.

    Later entries override earlier ones: framework defaults; configs/datasets/<dataset>.yaml; configs/defaults.yaml; the
    sections of configs/trainers/<Method>.yaml in the order of `layers.section_names`; the fields of the choice
    (backbone, shots, seed, root); KEY VALUE pairs. `config_file` replaces configs/defaults.yaml and the method's file,
    except for its section `published`.

    Raises:
        InputError: a file that is missing or does not fit, an unknown key, a value of the wrong type, a key without
            effect in a section or a pair.
    """
    cfg = default_cfg(choice.trainer)
    pairs = _pairs(choice.opts, choice.opts_are)
    of_dataset = file_layer(Path(choice.dataset_config_file or DATASET_FILES / f"{choice.dataset}.yaml"))
    of_method = file_layer(Path(choice.config_file or SHARED_FILE))
    sections = _sections(choice)
    own_files = [of_dataset] if choice.dataset_config_file else []
    own_files += [of_method] if choice.config_file else []
    for layer in (*map(_without_foreign_keys, (of_dataset, of_method)), *sections):
        merge(cfg, layer)
    _apply(cfg, choice)
    for layer in pairs:
        merge(cfg, layer)
    check_settings(cfg)
    _check_names(cfg)
    _check_method(cfg, choice.trainer)
    for layer in sections:
        keys.refuse_never_read(layer.where, layer.values, cfg, SET_BY_CHOICE)
    _warn_of_unread(own_files, cfg)
    if not choice.accept_unread:
        keys.refuse_unread(choice.opts_are, choice.opts[::2], cfg)
    clean_cfg(cfg, choice.trainer)
    cfg.freeze()
    return cfg


def _without_foreign_keys(layer: Layer) -> Layer:
    known = {key: value for key, value in layer.values.items() if key not in keys.FOREIGN}
    return layer if len(known) == len(layer.values) else Layer(layer.where, known)


def _sections(choice: Choice) -> list[Layer]:
    """The sections of the method's file that apply to a run; plain Dassl trainers need no file."""
    names = [] if choice.config_file else section_names(choice.protocol, choice.dataset, choice.shots)
    names += ["published"] if choice.published else []
    has_file = method_file(choice.trainer).is_file()
    needs_file = is_method(choice.trainer) and not choice.config_file
    return method_layers(choice.trainer, names) if has_file or needs_file else []


def _apply(cfg: CfgNode, choice: Choice) -> None:
    cfg.TRAINER.NAME = choice.trainer
    cfg.MODEL.BACKBONE.NAME = choice.backbone
    cfg.DATASET.ROOT = choice.root or cfg.DATASET.ROOT or str(PROJECT / "data")
    cfg.DATASET.NUM_SHOTS = choice.shots
    cfg.SEED = choice.seed
    cfg.PROTOCOL = choice.protocol
    cfg.PUBLISHED = choice.published
    if choice.protocol == "base2new":
        cfg.DATASET.SUBSAMPLE_CLASSES = "base"


def _pairs(opts: Sequence[Any], where: str) -> list[Layer]:
    if len(opts) % 2:
        raise InputError(f"settings at the end of the command line come as KEY VALUE pairs; got {' '.join(opts)}")
    pairs = zip(opts[::2], opts[1::2], strict=True)
    return [Layer(f"{where}: {key} {value}", {key: value}) for key, value in pairs]


def _check_names(cfg: CfgNode) -> None:
    """Refuse names that nothing is registered under; a plain Dassl trainer may use other backbones."""
    if cfg.DATASET.NAME not in DATASET_REGISTRY:
        raise unknown_name("data set (DATASET.NAME)", cfg.DATASET.NAME, DATASET_REGISTRY.registered_names())
    if is_method(cfg.TRAINER.NAME) and cfg.MODEL.BACKBONE.NAME not in BACKBONE_REGISTRY:
        name = cfg.MODEL.BACKBONE.NAME
        raise unknown_name("backbone (MODEL.BACKBONE.NAME)", name, BACKBONE_REGISTRY.registered_names())


def _check_method(cfg: CfgNode, trainer: str) -> None:
    """Refuse settings that the method does not allow, and a method that the backbone or protocol does not allow."""
    reason = why_unsupported(trainer, cfg)
    if reason:
        raise RefusedError(f"{trainer} on {cfg.MODEL.BACKBONE.NAME}, {cfg.PROTOCOL}: {reason}")


def _warn_of_unread(files: Iterable[Layer], cfg: CfgNode) -> None:
    """One warning that names the keys of whole files that have no effect."""
    named = {key for layer in files for key in layer.values}
    without_effect = named & (SET_BY_CHOICE | keys.FOREIGN) | set(keys.unread(named, cfg))
    if without_effect:
        listed = ", ".join(sorted(without_effect))
        print(f"warning: keys of the configuration files that have no effect in this run: {listed}", file=sys.stderr)
