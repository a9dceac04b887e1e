"""Trainers by name."""

from yacs.config import CfgNode

from dassl.utils import Registry

TRAINER_REGISTRY = Registry("trainer")


def build_trainer(cfg: CfgNode):
    """The trainer that TRAINER.NAME names, built; an unknown name is an InputError."""
    return TRAINER_REGISTRY.get(cfg.TRAINER.NAME)(cfg)
