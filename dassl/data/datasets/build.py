"""The registry of data sets."""

from typing import Any

from yacs.config import CfgNode

from dassl.utils import Registry

DATASET_REGISTRY = Registry("dataset")


def build_dataset(cfg: CfgNode) -> Any:
    """Build the data set that DATASET.NAME names; an unknown name raises InputError."""
    return DATASET_REGISTRY.get(cfg.DATASET.NAME)(cfg)
