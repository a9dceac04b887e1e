"""The registry of trainers."""

from typing import Any

from yacs.config import CfgNode

from dassl.utils import Registry

TRAINER_REGISTRY = Registry("trainer")


def build_trainer(cfg: CfgNode) -> Any:
    """Build the trainer that TRAINER.NAME names; an unknown name raises InputError."""
    return TRAINER_REGISTRY.get(cfg.TRAINER.NAME)(cfg)
