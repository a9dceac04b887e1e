"""yacs configuration with upstream's key names and defaults, so that CoOp-style yaml files load unchanged."""

from typing import Any

import yaml
from yacs.config import CfgNode as CN

from dassl.config.defaults import DEFAULTS

__all__ = ["clean_cfg", "dump_cfg", "get_cfg_default", "parse_yaml"]

# The C library's, where PyYAML was built with it: they are several times as fast.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def get_cfg_default() -> CN:
    """A fresh copy of the default configuration."""
    return CN(DEFAULTS)


def clean_cfg(cfg: CN, trainer: str) -> None:
    """Drop the settings of all trainers but one from `cfg.TRAINER`, in place; plain values are kept."""
    wanted = {trainer.upper(), trainer.split("_")[0].upper()}
    for key in [k for k, v in cfg.TRAINER.items() if isinstance(v, CN) and k.upper() not in wanted]:
        cfg.TRAINER.pop(key)


def dump_cfg(cfg: CN) -> str:
    """The configuration as yaml text."""
    return yaml.dump(_plain(cfg), Dumper=_DUMPER)


def parse_yaml(text: str) -> Any:
    """What a yaml text says; a yaml.YAMLError where it is none."""
    return yaml.load(text, Loader=_LOADER)


def _plain(node: Any) -> Any:
    return {key: _plain(value) for key, value in node.items()} if isinstance(node, CN) else node
