"""Losses that several methods share."""

import functools
import operator
from collections.abc import Iterable

from torch import Tensor
from torch.nn import functional as F


def kl_to_teacher(student: Tensor, teacher: Tensor) -> Tensor:
    """KL(p* || p) of teacher logits and student logits (B, C), averaged over batch and classes.

    Σ p* (log p* − log p) / (B·C): the mean over all entries that the official Biomed-DPT and BiomedCoOp code takes,
    1/C of the usual mean over the batch.
    """
    return F.kl_div(student.log_softmax(1), teacher.log_softmax(1), reduction="sum", log_target=True) / student.numel()


def soft_cross_entropy(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T² times the mean over the batch of −Σ p* log p, at temperature T (Hinton et al., arXiv 1503.02531).

    Differs from T² · KL(p* || p) by what does not depend on the student: the gradients are the same.
    """
    target = (teacher / temperature).softmax(1)
    return F.cross_entropy(student / temperature, target) * temperature**2


def total_loss(parts: Iterable[Tensor]) -> Tensor:
    """The sum of one or more losses."""
    return functools.reduce(operator.add, parts)
