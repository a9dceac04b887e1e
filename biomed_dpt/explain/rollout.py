"""Attention rollout of the class token (Abnar and Zuidema, arXiv 2005.00928)."""

import torch
from torch import Tensor

from biomed_dpt.explain.attention import Layout, attend, propagate
from biomed_dpt.explain.evidence import Evidence
from trainers.predictor import Predictor


def evidence(predictor: Predictor, pixels: Tensor, label: int | None) -> Evidence:
    """How much of each patch flows into the class token of the last block. It does not depend on the class."""
    run = attend(predictor, pixels, label)
    return run.evidence(rollout([block.weights[0].detach() for block in run.blocks], run.layout))


def rollout(weights: list[Tensor], layout: Layout) -> Tensor:
    """The row (L,) of the class token in the product of (A + I) / 2 over the blocks, A: mean over the heads.

    Args:
        weights: attention (H, R, L) of each block, R = L or 1; its rows have the sum 1.
        layout: where the prompt tokens are.
    """
    means = [block.mean(0) for block in weights]
    return propagate(((mean + torch.eye(*mean.shape, device=mean.device)) / 2 for mean in means), layout)
