"""Builds the configuration of one run: defaults, data set, method, what differs per data set, then the command line."""

import contextlib
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import yaml
from yacs.config import CfgNode as CN

import datasets  # noqa: F401 - registers the data sets
import trainers  # noqa: F401 - registers the methods
from clip import BACKBONE_REGISTRY
from dassl.config import clean_cfg, get_cfg_default, parse_yaml
from dassl.data.datasets import DATASET_REGISTRY
from dassl.engine import TRAINER_REGISTRY
from dassl.errors import InputError, unknown_name
from trainers.tuner import Tuner

FOLDER = Path(__file__).parent
PROTOCOLS = ("few_shot", "base2new")
DEFAULT_BACKBONE = "Tiny"
DATA_FOLDER = FOLDER.parent / "data"


class RefusedError(InputError):
    """A method that has no meaning on a backbone, or under a protocol and its settings."""


@dataclass
class Choice:
    """What a run is, in the everyday words of the command line; `build_cfg` turns it into a configuration."""

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
    opts: list[str] = field(default_factory=list)

    def __post_init__(self):
        """Resolve method_backbone and the default backbone, and check every name."""
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
        if not self.dataset_config_file and self.dataset not in available_datasets():
            raise unknown_name("dataset", self.dataset, available_datasets())


def available_datasets() -> list[str]:
    return sorted(path.stem for path in (FOLDER / "datasets").glob("*.yaml"))


def admitted_methods(protocol: str, backbone: str, opts: Sequence[str] = ()) -> list[str]:
    """The methods that work on a backbone under a protocol and settings, in the order of the README's table.

    Registered methods without a configuration of their own, which need a --config-file, are not among them.
    """
    admitted = []
    for name in TRAINER_REGISTRY.registered_names():
        if (FOLDER / "trainers" / name).is_dir():
            with contextlib.suppress(RefusedError):
                build_cfg(Choice(name, backbone=backbone, protocol=protocol, opts=list(opts)))
                admitted.append(name)
    return admitted


def build_cfg(choice: Choice) -> CN:
    """The frozen configuration of a run.

    Later entries win: framework defaults; configs/datasets/<dataset>.yaml; configs/trainers/base.yaml;
    <Method>/common.yaml; <Method>/<protocol>.yaml; <Method>/<dataset>.yaml; <Method>/<protocol>/<dataset>.yaml;
    <Method>/published.yaml if asked for; the choice's own words (backbone, shots, seed, root); KEY VALUE pairs.
    `config_file` takes the place of the method's files, `dataset_config_file` that of the data set's.

    Raises:
        InputError: a file that is missing or does not fit, an unknown key, a value of the wrong type.
    """
    cfg = default_cfg()
    for path in _layers(choice):
        _merge_file(cfg, path)
    cfg.TRAINER.NAME = choice.trainer
    cfg.MODEL.BACKBONE.NAME = choice.backbone
    cfg.DATASET.ROOT = choice.root or cfg.DATASET.ROOT or str(DATA_FOLDER)
    cfg.DATASET.NUM_SHOTS = choice.shots
    cfg.SEED = choice.seed
    cfg.PROTOCOL = choice.protocol
    cfg.PUBLISHED = choice.published
    if choice.protocol == "base2new":
        cfg.DATASET.SUBSAMPLE_CLASSES = "base"
    _merge_pairs(cfg, choice.opts)
    DATASET_REGISTRY.get(cfg.DATASET.NAME)
    backbone = BACKBONE_REGISTRY.get(cfg.MODEL.BACKBONE.NAME)
    reason = TRAINER_REGISTRY.get(choice.trainer).refusal(backbone, cfg)
    if reason:
        raise RefusedError(f"{choice.trainer} on {cfg.MODEL.BACKBONE.NAME}, {choice.protocol}: {reason}")
    clean_cfg(cfg, choice.trainer)
    cfg.freeze()
    return cfg


def default_cfg() -> CN:
    """A fresh copy of the framework's defaults, this project's own keys, and a node of settings per method."""
    return _copied(_default_cfg(tuple(TRAINER_REGISTRY.registered_names())))


@lru_cache
def _default_cfg(methods: tuple[str, ...]) -> CN:
    cfg = get_cfg_default()
    cfg.PROTOCOL = "few_shot"
    cfg.PUBLISHED = False
    cfg.FEATURES = "ahead"  # "ahead": features of a frozen image tower are encoded before the steps; "online": in them
    cfg.FEATURE_PREC = "fp32"  # arithmetic of image features that are encoded ahead; the names of PREC
    cfg.TEXT_PADDING = "longest"  # prompts padded to the "longest" of them, or to the backbone's "context" length
    cfg.MODEL.BACKBONE.PATH = ""  # folder with the weights; "" for the backbone's own source
    cfg.DATASET.SUBSAMPLE_CLASSES = "all"
    cfg.DATASET.FOLDER = ""  # the three keys of the data set "Folder"
    cfg.DATASET.CLASSES = ()
    cfg.DATASET.PROMPTS = ""
    for name in methods:
        trainer = TRAINER_REGISTRY.get(name)
        cfg.TRAINER[name.upper()] = CN(getattr(trainer, "own_settings", trainer.defaults))
    return cfg


def _copied(node: CN) -> CN:
    """A copy of an unfrozen configuration; copy.deepcopy is slower, and a sweep makes hundreds."""
    new = CN()
    for key, value in node.items():
        new[key] = _copied(value) if isinstance(value, CN) else copy(value)
    return new


def _layers(choice: Choice) -> Iterator[Path]:
    yield Path(choice.dataset_config_file or FOLDER / "datasets" / f"{choice.dataset}.yaml")
    if choice.config_file:
        yield Path(choice.config_file)
    else:
        method = FOLDER / "trainers" / choice.trainer
        yield FOLDER / "trainers" / "base.yaml"
        own = [method / "common.yaml", method / f"{choice.protocol}.yaml"]
        tuned = issubclass(TRAINER_REGISTRY.get(choice.trainer), Tuner)
        if tuned and not any(path.is_file() for path in own):
            raise InputError(
                f"{choice.trainer} has no configuration: write '{own[0]}' (see README, How to add a method)"
            )
        of_dataset = f"{choice.dataset}.yaml"
        yield from filter(Path.is_file, [*own, method / of_dataset, method / choice.protocol / of_dataset])
    published = FOLDER / "trainers" / choice.trainer / "published.yaml"
    if choice.published and published.is_file():
        yield published


def _merge_file(cfg: CN, path: Path) -> None:
    if not path.is_file():
        raise InputError(f"configuration file '{path}' does not exist")
    try:
        content = _parsed(path.read_text(encoding="utf-8"))
        if content is None:
            raise InputError(f"configuration file '{path}' must hold KEY: VALUE lines")
        _check_keys(cfg, content, str(path))
        cfg.merge_from_other_cfg(content)
    except (yaml.YAMLError, ValueError, KeyError, AssertionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"configuration file '{path}': {error}") from error


@lru_cache
def _parsed(text: str) -> CN | None:
    """What a file says, None if it is no dictionary; a sweep reads the same ones hundreds of times."""
    content = parse_yaml(text) or {}
    return CN(content) if isinstance(content, dict) else None


def _check_keys(cfg: CN, content: dict, source: str, prefix: str = "") -> None:
    for key, value in content.items():
        if key not in cfg:
            known = [f"{prefix}{k}" for k in cfg]
            raise InputError(f"{source}: {unknown_name('configuration key', f'{prefix}{key}', known)}")
        if isinstance(value, dict) and isinstance(cfg[key], CN):
            _check_keys(cfg[key], value, source, f"{prefix}{key}.")


def _merge_pairs(cfg: CN, opts: list[str]) -> None:
    if len(opts) % 2:
        raise InputError(f"settings at the end of the command line come as KEY VALUE pairs; got {' '.join(opts)}")
    for key, value in zip(opts[::2], opts[1::2], strict=True):
        node = cfg
        parts = key.split(".")
        for depth, part in enumerate(parts):
            if not isinstance(node, CN) or part not in node:
                known = [".".join([*parts[:depth], k]) for k in node] if isinstance(node, CN) else [key]
                raise InputError(f"command line: {unknown_name('configuration key', key, known)}")
            node = node[part]
        try:
            cfg.merge_from_list([key, value])
        except (ValueError, AssertionError) as error:
            raise InputError(f"command line: {key} {value}: {error}") from error
