"""The yacs configuration, with the keys and defaults of upstream Dassl: CoOp-style yaml files load unchanged."""

from typing import Any

import yaml
from yacs.config import CfgNode as CN

from dassl.config.defaults import DEFAULTS

__all__ = ["clean_cfg", "dump_cfg", "get_cfg_default", "parse_yaml"]

# PyYAML's C versions are several times as fast, but not every build of PyYAML has them.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def get_cfg_default() -> CN:
    """Return a new copy of the default configuration."""
    return CN(DEFAULTS)


def clean_cfg(cfg: CN, trainer: str) -> None:
    """Remove the nodes of all trainers except one from `cfg.TRAINER`, in place. Plain values are not removed."""
    wanted = {trainer.upper(), trainer.split("_")[0].upper()}
    for key in [k for k, v in cfg.TRAINER.items() if isinstance(v, CN) and k.upper() not in wanted]:
        cfg.TRAINER.pop(key)


def dump_cfg(cfg: CN) -> str:
    """Return the configuration as yaml text."""
    return yaml.dump(_plain(cfg), Dumper=_DUMPER)


def parse_yaml(text: str) -> Any:
    """Parse a yaml text; raises yaml.YAMLError if it is not valid."""
    return yaml.load(text, Loader=_LOADER)


def _plain(node: Any) -> Any:
    return {key: _plain(value) for key, value in node.items()} if isinstance(node, CN) else node
