"""Maps in the style of Grad-ECLIP (Zhao et al., ICML 2024, and arXiv 2502.18816)."""

import torch
from torch import Tensor
from torch.nn import functional as F

from biomed_dpt.explain.attention import Attention, Layout, attend
from biomed_dpt.explain.evidence import Evidence
from trainers.predictor import Predictor


def evidence(predictor: Predictor, pixels: Tensor, label: int | None) -> Evidence:
    """How much the score of the class rests on each patch, through the values of the last block."""
    run = attend(predictor, pixels, label)
    last = run.blocks[-1]
    (gradient,) = run.gradients([last.mixed])
    return run.evidence(weighted_values(last, gradient, run.layout))


def weighted_values(block: Attention, gradient: Tensor, layout: Layout) -> Tensor:
    """E_i = ReLU(λ_i · Σ_c w_c v_ic) of each token, (L,); 0 for class token and prompt tokens.

    w = ∂score/∂o is the gradient at the class token's attention output o, before the output projection; v_i are the
    values. λ_i is the cosine of the class token's query and the key of token i, scaled to [0, 1] over the patches: a
    looser weight than the softmax. Queries, keys, values and o are those of all heads, one after another. The gradient
    is that of the model's own attention with several heads.

    Args:
        block: the last block.
        gradient: that of the score at `block.mixed`.
        layout: where the prompt tokens are.
    """
    query, weight = (_joined(x)[0] for x in (block.query, gradient))
    key, value = (_joined(x) for x in (block.key, block.value))
    patches = torch.ones(len(key), dtype=torch.bool, device=key.device)
    patches[0] = patches[layout.prompt_tokens] = False
    cosine = F.cosine_similarity(query, key, dim=-1)
    low, high = cosine[patches].min(), cosine[patches].max()
    loose = (cosine - low) / (high - low) if high > low else torch.ones_like(cosine)
    return torch.where(patches, (loose * (value @ weight)).clamp(min=0), 0)


def _joined(heads: Tensor) -> Tensor:
    """(L, H · w) from (1, H, L, w)."""
    return heads[0].detach().transpose(0, 1).flatten(1)
