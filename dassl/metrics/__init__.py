"""Metrics of a batch."""

from torch import Tensor

__all__ = ["compute_accuracy"]


def compute_accuracy(output: Tensor, target: Tensor, topk: tuple[int, ...] = (1,)) -> list[Tensor]:
    """Compute top-k accuracies, in percent, of logits (B, C) and labels (B,); each is a tensor of shape (1,)."""
    _, ranked = output.topk(max(topk), dim=1)
    hits = ranked.eq(target.view(-1, 1))
    return [hits[:, :k].any(dim=1).float().mean().mul(100).view(1) for k in topk]
