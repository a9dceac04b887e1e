"""Compute metrics from the logits and labels of a test set."""

from collections import OrderedDict
from typing import Any

import numpy as np
import torch
from torch import Tensor
from yacs.config import CfgNode

from dassl.errors import DivergedError
from dassl.utils import Registry

EVALUATOR_REGISTRY = Registry("evaluator")
CALIBRATION_BINS = 15


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
    """Accuracy, macro-F1, per-class accuracy, AUROC and calibration of single-label classification."""

    def __init__(self, cfg: CfgNode, lab2cname: dict[int, str] | None = None, **_ignored: Any):
        super().__init__(cfg)
        self.lab2cname = lab2cname or {}
        self.metrics: dict = {}
        self.reset()

    def reset(self) -> None:
        self._logits: list[Tensor] = []
        self._labels: list[Tensor] = []

    def process(self, mo: Tensor, gt: Tensor) -> None:
        """Add a batch of logits (B, C) and labels (B,)."""
        self._logits.append(mo.detach().float().cpu())
        self._labels.append(gt.detach().cpu())

    def evaluate(self) -> OrderedDict:
        """Print the results in Dassl's format; return accuracy, error_rate and macro_f1 in percent.

        The attribute `metrics` holds all metrics.

        Raises:
            DivergedError: logits that are not finite, of which an accuracy means nothing.
        """
        logits, labels = torch.cat(self._logits), torch.cat(self._labels)
        if not logits.softmax(1).isfinite().all():
            raise DivergedError(
                "the logits of the tested images are not finite, so no accuracy can be computed: lower OPTIM.LR where "
                "the model was trained, or test another model"
            )
        self.metrics = classification_metrics(logits, labels, self.lab2cname)
        accuracy, macro_f1 = self.metrics["accuracy"], self.metrics["macro_f1"]
        print(
            "=> result\n"
            f"* total: {self.metrics['total']:,}\n"
            f"* correct: {self.metrics['correct']:,}\n"
            f"* accuracy: {accuracy:.1f}%\n"
            f"* error: {100 - accuracy:.1f}%\n"
            f"* macro_f1: {macro_f1:.1f}%"
        )
        results = OrderedDict(accuracy=accuracy, error_rate=100 - accuracy, macro_f1=macro_f1)
        if self.cfg.TEST.PER_CLASS_RESULT:
            per_class = self.metrics["per_class_accuracy"]
            print("=> per-class result")
            for name, value in per_class.items():
                print(f"* class: {name}\tacc: {value:.1f}%")
            results["perclass_accuracy"] = float(np.mean(list(per_class.values())))
        if self.cfg.TEST.COMPUTE_CMAT:
            from sklearn.metrics import confusion_matrix

            self.metrics["confusion_matrix"] = confusion_matrix(
                labels.numpy(), logits.argmax(1).numpy(), normalize="true"
            ).tolist()
        return results


def classification_metrics(logits: Tensor, labels: Tensor, lab2cname: dict[int, str] | None = None) -> dict:
    """Compute all metrics of a test set.

    Args:
        logits: (N, C).
        labels: (N,) int64 in [0, C).
        lab2cname: class names for the per-class accuracies.

    Returns:
        total and correct, and in percent: accuracy; macro_f1 over the classes that occur; per_class_accuracy by name;
        auroc, one-vs-rest and macro-averaged, None if a class has no test images or there is only one class; ece, the
        expected calibration error with 15 equal bins and L1 norm (Guo et al., arXiv 1706.04599).
    """
    from sklearn.metrics import f1_score, roc_auc_score
    from torchmetrics.functional.classification import multiclass_calibration_error

    predicted, probabilities = logits.argmax(1), logits.double().softmax(1)
    correct = predicted == labels
    classes = logits.shape[1]
    present = labels.unique().tolist()
    auroc = None
    if len(present) == classes > 1:
        scores = (probabilities[:, 1] if classes == 2 else probabilities).numpy()
        auroc = 100 * float(roc_auc_score(labels.numpy(), scores, multi_class="ovr", average="macro"))
    ece = (
        multiclass_calibration_error(probabilities.float(), labels, num_classes=classes, n_bins=CALIBRATION_BINS)
        if classes > 1
        else (1 - correct.float()).mean()
    )
    return {
        "total": len(labels),
        "correct": int(correct.sum()),
        "accuracy": 100 * correct.double().mean().item(),
        "macro_f1": 100 * float(f1_score(labels.numpy(), predicted.numpy(), average="macro", labels=present)),
        "auroc": auroc,
        "ece": 100 * float(ece),
        "per_class_accuracy": {
            (lab2cname or {}).get(c, str(c)): 100 * correct[labels == c].double().mean().item() for c in present
        },
    }
