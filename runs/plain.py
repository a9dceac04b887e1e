"""Runs a trainer that is written against Dassl's API alone, with the interface of this project's own trainers."""

import contextlib
import time
from typing import Any

import torch
from yacs.config import CfgNode

from dassl.data import DatasetWrapper
from dassl.engine import TRAINER_REGISTRY
from dassl.evaluation import Classification, Predictions
from datasets.image_check import check_dataset
from trainers.tuner import Tuner


def is_plain(trainer: str) -> bool:
    """Whether a trainer is one of Dassl's API alone."""
    registered: Any = TRAINER_REGISTRY.get(trainer)
    return not issubclass(registered, Tuner)


def adapted(trainer: Any, cfg: CfgNode) -> Any:
    """A built trainer with the interface of `trainers.tuner.Tuner`."""
    return PlainTrainer(trainer, cfg) if is_plain(cfg.TRAINER.NAME) else trainer


class PlainTrainer:
    """A Dassl trainer with the attributes of `trainers.tuner.Tuner` that carrying out a run needs.

    Args:
        trainer: a built trainer with Dassl's `train`, `test`, `load_model` and `evaluator`.
        cfg: its configuration.
    """

    method = None
    stackable = False
    logged = contextlib.nullcontext

    def __init__(self, trainer: Any, cfg: CfgNode):
        self.trainer, self.cfg = trainer, cfg
        self.dm = getattr(trainer, "dm", None)
        own_images = isinstance(getattr(getattr(self.dm, "train_loader_x", None), "dataset", None), DatasetWrapper)
        self.image_notes = check_dataset(trainer.dm.dataset, cfg) if own_images else None
        self.device: torch.device = trainer.device
        self.evaluation: dict[str, dict] = {}
        self.training_started = time.time()

    @property
    def trainable_parameters(self) -> int:
        """The number of parameters, in all registered models, that have a gradient."""
        models = [self.trainer._models[name] for name in self.trainer.get_model_names()]
        return sum(value.numel() for model in models for value in model.parameters() if value.requires_grad)

    @property
    def history(self) -> dict[str, list]:
        return self.trainer.history

    @property
    def max_epoch(self) -> int:
        """The number of epochs that were trained in this process, of which there are losses."""
        return self.trainer.max_epoch - self.trainer.start_epoch

    def train(self) -> None:
        """Train and test; Dassl's trainers test after training, unless TEST.NO_TEST is set."""
        self.training_started = time.time()
        with self.logged():
            self.trainer.train()
            if self.cfg.TEST.NO_TEST:
                return
            metrics = getattr(self.trainer.evaluator, "metrics", {})
            self.evaluation = {self._classes: dict(metrics)} if "accuracy" in metrics else self.evaluate()

    def evaluate(self) -> dict[str, dict]:
        """Test; the metrics by the classes that were tested. An evaluator without metrics gives the accuracy alone."""
        accuracy = self.trainer.test()
        metrics = getattr(self.trainer.evaluator, "metrics", {})
        self.evaluation = {self._classes: {"accuracy": accuracy, **metrics}}
        return self.evaluation

    @property
    def predictions(self) -> dict[str, Predictions]:
        """What the last test predicted, by the classes that were tested.

        Empty where the trainer's evaluator keeps no logits, or those of other images than the tested part's.
        """
        evaluator, dataset = self.trainer.evaluator, getattr(self.dm, "dataset", None)
        items = getattr(dataset, self.cfg.TEST.SPLIT, None) or ()
        labels = evaluator.labels if isinstance(evaluator, Classification) else torch.empty(0)
        if not self.evaluation or not items or labels.tolist() != [item.label for item in items]:
            return {}
        logits = evaluator.logits
        names = [evaluator.lab2cname.get(label, str(label)) for label in range(logits.shape[1])]
        return {self._classes: Predictions([item.impath for item in items], names, logits, labels)}

    def load_model(self, directory: str, epoch: int | None = None) -> None:
        self.trainer.load_model(directory, epoch=epoch)

    @property
    def _classes(self) -> str:
        return self.cfg.DATASET.SUBSAMPLE_CLASSES
