"""The maps of a batch of images under one visual prompt, from one pass through the image tower."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from biomed_dpt.explain.attention import Attention, AttentionRecorder, Layout
from biomed_dpt.explain.grad_eclip import weighted_values
from biomed_dpt.explain.gradient_attention import relevance
from biomed_dpt.explain.rollout import rollout
from clip import Backbone, VisualPrompt
from dassl.errors import InputError
from evidence.results import MapName

TARGETS = ("true", "predicted")
# The explainers whose maps depend on a class.
OF_A_CLASS = ("gradient-attention", "grad-eclip")


def map_names(texts: Mapping[str, Tensor]) -> list[MapName]:
    """The maps of each image, in the order of `encode`."""
    of_classes = [MapName(kind, target, text) for text in texts for target in TARGETS for kind in OF_A_CLASS]
    return [MapName("attention"), MapName("rollout"), *of_classes]


def encode(
    backbone: Backbone, pixels: Tensor, prompt: VisualPrompt | None, texts: Mapping[str, Tensor], labels: Tensor
) -> dict[str, Tensor]:
    """Encode images once, and compute their maps from the attention of this pass.

    Args:
        backbone: a vision transformer.
        pixels: (B, 3, H, W), normalised, on the device of the backbone.
        prompt: the visual prompt.
        texts: normalised text features (C, D) by name; none for no maps of a class.
        labels: (B,), the true classes.

    Returns:
        "features" (B, D), normalised; "maps" (B, M, side, side) in the order of `map_names`; "heads" (B, layers, heads,
        side, side), the attention of the class token; "seen" (side, side), bool, the patches that the tower reads. All
        fp32 and detached. Each map is a share of its sum over the patches; prompt tokens and class token are left out.

    Raises:
        InputError: the tower is no vision transformer, does not compute its attention with torch's function, or has
            tokens that are no square grid.
    """
    if not backbone.image_tokens:
        raise InputError(
            f"the image tower of {backbone.name} is a convolutional network and has no attention; name a backbone with "
            "a vision transformer"
        )
    recorder = AttentionRecorder()
    with torch.set_grad_enabled(bool(texts)), torch.autocast(pixels.device.type, enabled=False):
        with recorder:
            features = F.normalize(backbone.encode_image(pixels, prompt).float(), dim=-1)
        blocks = recorder.blocks
        if len(blocks) != backbone.vision_depth:
            raise InputError(
                f"{len(blocks)} of {backbone.vision_depth} blocks of the image tower of {backbone.name} compute their "
                "attention with F.scaled_dot_product_attention, and maps need all; unset TIMM_FUSED_ATTN if it is set"
            )
        layout = Layout(prompt, blocks[-1].key.shape[-2], len(blocks))
        weights = [block.weights.detach() for block in blocks]
        heads = torch.stack([of_block[:, :, 0] for of_block in weights], dim=1)
        found = [heads[:, -1].mean(1), _of_each(lambda own: rollout(own, layout), weights)]
        for text in texts.values():
            logits = backbone.logit_scale * features @ text.to(features).T
            for target in (labels, logits.argmax(1)):
                found += _of_class(blocks, layout, logits, target)
    grids, seen = layout.grid(torch.stack([rows.to(heads) for rows in found], dim=1))
    of_heads, _ = layout.grid(heads)
    return {"features": features.detach(), "maps": _shares(grids), "heads": _shares(of_heads), "seen": seen}


def _of_class(blocks: list[Attention], layout: Layout, logits: Tensor, target: Tensor) -> list[Tensor]:
    """The maps (B, L) of OF_A_CLASS towards a class (B,) of each image."""
    score = logits.gather(1, target[:, None]).sum()  # the images of a batch do not depend on each other
    *gradients, of_mixed = torch.autograd.grad(
        score, [*(block.weights for block in blocks), blocks[-1].mixed], retain_graph=True
    )
    count, last = len(blocks), blocks[-1]
    weights = [block.weights.detach() for block in blocks]
    weighted = _of_each(lambda own: relevance(own[:count], own[count:], layout), [*weights, *gradients])
    parts = (last.query, last.key, last.value, last.weights, last.mixed)
    eclip = torch.stack(
        [
            weighted_values(Attention(*(part[k, None] for part in parts)), of_mixed[k, None], layout)
            for k in range(len(target))
        ]
    )
    return [weighted, eclip]


def _of_each(compute: Callable[[list[Tensor]], Tensor], batched: Sequence[Tensor]) -> Tensor:
    """What is computed (…) from the entries of each image in batched tensors (B, …), stacked (B, …)."""
    return torch.stack([compute([of_block[k] for of_block in batched]) for k in range(len(batched[0]))])


def _shares(values: Tensor) -> Tensor:
    """Values (…, side, side) as shares of their sum; zeros stay zeros."""
    total = values.sum((-2, -1), keepdim=True)
    return torch.where(total > 0, values / total, 0.0)
