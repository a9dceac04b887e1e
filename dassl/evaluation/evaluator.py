"""Collects the logits and labels of a test set, and prints its metrics as Dassl does."""

from collections import OrderedDict
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from yacs.config import CfgNode

from dassl.errors import DivergedError
from dassl.evaluation.metrics import accuracy_metrics, classification_metrics
from dassl.utils import Registry

EVALUATOR_REGISTRY = Registry("evaluator")


def build_evaluator(cfg: CfgNode, **kwargs: Any) -> "EvaluatorBase":
    """Build the evaluator that TEST.EVALUATOR names; an unknown name raises InputError."""
    return EVALUATOR_REGISTRY.get(cfg.TEST.EVALUATOR)(cfg, **kwargs)


class EvaluatorBase:
    """Collects the outputs of a model batch by batch and evaluates them at the end."""

    def __init__(self, cfg: CfgNode):
        self.cfg = cfg

    def reset(self) -> None:
        raise NotImplementedError

    def process(self, mo: Tensor, gt: Tensor) -> None:
        raise NotImplementedError

    def evaluate(self) -> OrderedDict:
        raise NotImplementedError


@EVALUATOR_REGISTRY.register()
class Classification(EvaluatorBase):
    """The metrics of single-label classification (`dassl.evaluation.metrics`).

    Attributes:
        logits: (N, C), of the images since `reset`, fp32 on the CPU.
        labels: (N,).
        metrics: all metrics of these images; empty without images. They are computed when they are first read: after
            an epoch the accuracy alone is needed.
    """

    def __init__(self, cfg: CfgNode, lab2cname: dict[int, str] | None = None, **_ignored: Any):
        super().__init__(cfg)
        self.lab2cname = lab2cname or {}
        self.reset()

    def reset(self) -> None:
        self._logits: list[Tensor] = []
        self._labels: list[Tensor] = []
        self.__dict__.pop("metrics", None)

    @property
    def logits(self) -> Tensor:
        return torch.cat(self._logits) if self._logits else torch.empty(0, 0)

    @property
    def labels(self) -> Tensor:
        return torch.cat(self._labels) if self._labels else torch.empty(0, dtype=torch.long)

    @cached_property
    def metrics(self) -> dict:
        return classification_metrics(self.logits, self.labels, self.lab2cname) if self._logits else {}

    def process(self, mo: Tensor, gt: Tensor) -> None:
        """Add a batch of logits (B, C) and labels (B,)."""
        self._logits.append(mo.detach().float().cpu())
        self._labels.append(gt.detach().cpu())

    def evaluate(self) -> OrderedDict:
        """Print the results in Dassl's format; return accuracy, error_rate and macro_f1 in percent.

        Raises:
            DivergedError: logits that are not finite, of which an accuracy means nothing.
        """
        logits, labels = self.logits, self.labels
        if not logits.softmax(1).isfinite().all():
            raise DivergedError(
                "the logits of the tested images are not finite, so no accuracy can be computed: lower OPTIM.LR where "
                "the model was trained, or test another model"
            )
        found = accuracy_metrics(logits, labels)
        accuracy, macro_f1 = found["accuracy"], found["macro_f1"]
        print(
            "=> result\n"
            f"* total: {found['total']:,}\n"
            f"* correct: {found['correct']:,}\n"
            f"* accuracy: {accuracy:.1f}%\n"
            f"* error: {100 - accuracy:.1f}%\n"
            f"* macro_f1: {macro_f1:.1f}%"
        )
        results = OrderedDict(accuracy=accuracy, error_rate=100 - accuracy, macro_f1=macro_f1)
        if self.cfg.TEST.PER_CLASS_RESULT:
            print("=> per-class result")
            for name, value in self.metrics["sensitivity"].items():
                if value is not None:
                    print(f"* class: {name}\tacc: {value:.1f}%")
            results["perclass_accuracy"] = self.metrics["balanced_accuracy"]
        if self.cfg.TEST.COMPUTE_CMAT:
            print("=> confusion matrix: a row per true class, a column per predicted class")
            for row in self.metrics["confusion_matrix"]:
                print(" ".join(f"{count:6d}" for count in row))
        return results
