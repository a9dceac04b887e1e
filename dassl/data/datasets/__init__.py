from dassl.data.datasets.base import DatasetBase, Datum
from dassl.data.datasets.build import DATASET_REGISTRY, build_dataset, build_image_reader

__all__ = ["DATASET_REGISTRY", "DatasetBase", "Datum", "build_dataset", "build_image_reader"]
