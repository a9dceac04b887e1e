"""The yacs configuration, with the keys and defaults of upstream Dassl: CoOp-style yaml files load unchanged."""

from typing import Any

from yacs.config import CfgNode as CN

from dassl.config.keys import check_settings, declare, declared_keys, nested_defaults
from dassl.config.yamltext import dump_yaml, parse_yaml

__all__ = ["check_settings", "clean_cfg", "declare", "declared_keys", "dump_cfg", "get_cfg_default", "parse_yaml"]


def get_cfg_default() -> CN:
    """Return a new copy of the framework's default configuration."""
    return CN(nested_defaults())


def clean_cfg(cfg: CN, trainer: str) -> None:
    """Remove the nodes of all trainers except one from `cfg.TRAINER`, in place. Plain values are not removed."""
    wanted = {trainer.upper(), trainer.split("_")[0].upper()}
    for key in [k for k, v in cfg.TRAINER.items() if isinstance(v, CN) and k.upper() not in wanted]:
        cfg.TRAINER.pop(key)


def dump_cfg(cfg: CN) -> str:
    """Return the configuration as yaml text."""
    return dump_yaml(_plain(cfg))


def _plain(node: Any) -> Any:
    return {key: _plain(value) for key, value in node.items()} if isinstance(node, CN) else node
