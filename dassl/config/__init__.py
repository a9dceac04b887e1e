"""yacs configuration with upstream's key names and defaults, so that CoOp-style yaml files load unchanged."""

from yacs.config import CfgNode as CN

from dassl.config.defaults import DEFAULTS

__all__ = ["clean_cfg", "get_cfg_default"]


def get_cfg_default() -> CN:
    """A fresh copy of the default configuration."""
    return CN(DEFAULTS)


def clean_cfg(cfg: CN, trainer: str) -> None:
    """Drop the settings of all trainers but one from `cfg.TRAINER`, in place; plain values are kept."""
    wanted = {trainer.upper(), trainer.split("_")[0].upper()}
    for key in [k for k, v in cfg.TRAINER.items() if isinstance(v, CN) and k.upper() not in wanted]:
        cfg.TRAINER.pop(key)
