"""The registry of data sets."""

from collections.abc import Callable
from typing import Any

from PIL import Image
from yacs.config import CfgNode

from dassl.data.datasets.base import DatasetBase
from dassl.utils import Registry

DATASET_REGISTRY = Registry("dataset")


def build_dataset(cfg: CfgNode) -> Any:
    """Build the data set that DATASET.NAME names; an unknown name raises InputError."""
    return DATASET_REGISTRY.get(cfg.DATASET.NAME)(cfg)


def build_image_reader(cfg: CfgNode) -> Callable[[str], Image.Image]:
    """Return the function that reads the images of the data set that DATASET.NAME names."""
    dataset = DATASET_REGISTRY.get(cfg.DATASET.NAME)
    return getattr(dataset, "image_reader", DatasetBase.image_reader)(cfg)
