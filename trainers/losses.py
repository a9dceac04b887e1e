"""Loss functions shared by several methods."""

import functools
import operator
from collections.abc import Iterable

from torch import Tensor
from torch.nn import functional as F


def kl_to_teacher(student: Tensor, teacher: Tensor) -> Tensor:
    """Compute KL(p* || p) from teacher and student logits (B, C), averaged over batch and classes.

    The result is Σ p* (log p* − log p) / (B·C). Like the official Biomed-DPT and BiomedCoOp code it averages over all
    entries, which is 1/C of the usual mean over the batch.
    """
    return F.kl_div(student.log_softmax(1), teacher.log_softmax(1), reduction="sum", log_target=True) / student.numel()


def soft_cross_entropy(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Compute T² times the batch mean of −Σ p* log p at temperature T (Hinton et al., arXiv 1503.02531).

    The gradients are those of T² · KL(p* || p), because the difference does not depend on the student.
    """
    target = (teacher / temperature).softmax(1)
    return F.cross_entropy(student / temperature, target) * temperature**2


def total_loss(parts: Iterable[Tensor]) -> Tensor:
    """The sum of one or more losses."""
    return functools.reduce(operator.add, parts)
