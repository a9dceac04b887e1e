"""Data sets by name."""

from yacs.config import CfgNode

from dassl.utils import Registry

DATASET_REGISTRY = Registry("dataset")


def build_dataset(cfg: CfgNode):
    """The data set that DATASET.NAME names; an unknown name is an InputError."""
    return DATASET_REGISTRY.get(cfg.DATASET.NAME)(cfg)
