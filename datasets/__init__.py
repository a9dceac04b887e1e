"""The data sets; importing this package registers them."""

from dassl.data.datasets import DatasetBase
from dassl.discovery import import_modules
from datasets.images import image_reader

DatasetBase.image_reader = classmethod(image_reader)  # also for data sets of one's own, written against Dassl alone

import_modules(__name__, {"DATASET_REGISTRY.register"})
