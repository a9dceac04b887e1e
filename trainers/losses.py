"""Losses that several methods share."""

from torch import Tensor
from torch.nn import functional as F


def kl_to_teacher(student: Tensor, teacher: Tensor) -> Tensor:
    """KL(p* || p) of teacher logits and student logits (B, C), averaged over batch and classes.

    Σ p* (log p* − log p) / (B·C): the mean over all entries that the official Biomed-DPT and BiomedCoOp code takes,
    1/C of the usual mean over the batch.
    """
    return F.kl_div(student.log_softmax(1), teacher.log_softmax(1), reduction="sum", log_target=True) / student.numel()
