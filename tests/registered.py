"""What the project itself registers, without what tests add."""

import datasets  # noqa: F401 - registers the data sets
import trainers  # noqa: F401 - registers the methods
from dassl.data.datasets import DATASET_REGISTRY
from dassl.engine import TRAINER_REGISTRY
from trainers.feature_space import FittedMethod


def _own(registry, room):
    found = [registry.get(name) for name in registry.registered_names()]
    return [cls for cls in found if cls.__module__.startswith(f"{room}.")]


METHODS = [cls.__name__ for cls in _own(TRAINER_REGISTRY, "trainers")]
DATASETS = [cls for cls in _own(DATASET_REGISTRY, "datasets") if cls.prompts]
LEARNING = [name for name in METHODS if not name.startswith("ZeroShot")]
FITTED = [name for name in LEARNING if issubclass(TRAINER_REGISTRY.get(name), FittedMethod)]
STEPPING = [name for name in LEARNING if name not in FITTED]
