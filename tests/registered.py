"""What the project itself registers, without what tests add."""

import datasets  # noqa: F401 - registers the data sets
import trainers  # noqa: F401 - registers the methods
from dassl.data.datasets import DATASET_REGISTRY
from trainers.registry import METHOD_REGISTRY


def _own(registry, room):
    found = [registry.get(name) for name in registry.registered_names()]
    return [cls for cls in found if cls.__module__.startswith(f"{room}.")]


METHOD_CLASSES = _own(METHOD_REGISTRY, "trainers")
METHODS = [cls.__name__ for cls in METHOD_CLASSES]
DATASETS = [cls for cls in _own(DATASET_REGISTRY, "datasets") if cls.prompts]
LEARNING = [cls.__name__ for cls in METHOD_CLASSES if cls.trainable_parameters]
FITTED = [cls.__name__ for cls in METHOD_CLASSES if cls.closed_form]
STEPPING = [name for name in LEARNING if name not in FITTED]
