"""Gradient-weighted attention (Chefer et al., arXiv 2103.15679, the rule for self-attention)."""

import torch
from torch import Tensor

from biomed_dpt.explain.attention import Layout, attend, propagate
from biomed_dpt.explain.evidence import Evidence
from trainers.predictor import Predictor


def evidence(predictor: Predictor, pixels: Tensor, label: int | None) -> Evidence:
    """How much the score of the class rests on each patch, through the attention of all blocks."""
    run = attend(predictor, pixels, label)
    weights = [block.weights for block in run.blocks]
    gradients = run.gradients(weights)
    return run.evidence(relevance([w[0].detach() for w in weights], [g[0] for g in gradients], run.layout))


def relevance(weights: list[Tensor], gradients: list[Tensor], layout: Layout) -> Tensor:
    """The row (L,) of the class token in R, which starts as I and becomes R + Ā R in each block.

    Ā is the mean over the heads of the positive part of A ⊙ ∂score/∂A.

    Args:
        weights: attention A (H, R, L) of each block, R = L or 1.
        gradients: those of the score, of the same shapes.
        layout: where the prompt tokens are.
    """
    positive = [(w * g).clamp(min=0).mean(0) for w, g in zip(weights, gradients, strict=True)]
    return propagate((bar + torch.eye(*bar.shape, device=bar.device) for bar in positive), layout)
