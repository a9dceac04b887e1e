"""The pass of an image through a vision transformer that keeps the attention of each block and its gradients."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import isqrt
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from biomed_dpt.explain.evidence import Evidence, explained_label
from clip import VisualPrompt
from dassl.errors import InputError
from trainers.predictor import Predictor


@dataclass(frozen=True)
class Attention:
    """The self-attention of one block for one image, with H heads of width w and L tokens.

    The queries are those of all tokens (R = L) or, where a tower computes its last block for the class token only, of
    that token (R = 1).

    Attributes:
        query: (1, H, R, w).
        key, value: (1, H, L, w).
        weights: (1, H, R, L), the softmax; part of the graph of the logits.
        mixed: (1, H, R, w), weights · value, before the output projection; part of the graph of the logits.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    weights: Tensor
    mixed: Tensor


class AttentionRecorder(TorchFunctionMode):
    """While it is active, attention is computed in steps that can be differentiated, and kept.

    It replaces `F.scaled_dot_product_attention` in its own thread only. The towers and their modules do not change.
    """

    def __init__(self) -> None:
        super().__init__()
        self.blocks: list[Attention] = []

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if func is not F.scaled_dot_product_attention:
            return func(*args, **kwargs)
        return self._attend(*args, **kwargs)

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        scale = kwargs.pop("scale", None)
        if any(isinstance(option, Tensor) or option for option in (*args, *kwargs.values())):
            raise InputError("the image tower masks its attention, and this explainer does not support that")
        scores = query @ key.transpose(-2, -1) * (query.shape[-1] ** -0.5 if scale is None else scale)
        weights = scores.softmax(-1)
        if torch.is_grad_enabled() and not weights.requires_grad:
            weights.requires_grad_()  # the first block: nothing before it needs a gradient
        mixed = weights @ value
        self.blocks.append(Attention(query, key, value, weights, mixed))
        return mixed


@dataclass(frozen=True)
class Layout:
    """Where an image tower of L tokens has its class token (position 0), prompt tokens and square grid of patches.

    Attributes:
        prompt: the visual prompt; None for none.
        tokens: L.
        blocks: the number of blocks.
    """

    prompt: VisualPrompt | None
    tokens: int
    blocks: int

    @property
    def prompt_tokens(self) -> list[int]:
        """The positions of the prompt tokens in the sequence."""
        if self.prompt is None:
            return []
        return [1 + place for place in self.prompt.positions or range(self.prompt.tokens)]

    def overwritten(self, block: int) -> bool:
        """Whether the prompt tokens are written anew in the input of a block, counted from 0."""
        if self.prompt is None or block == 0:
            return False
        return self.prompt.depth is None or block < self.prompt.depth

    def grid(self, row: Tensor) -> tuple[Tensor, Tensor]:
        """Take the patches (…, side, side) from the values (…, L) of all tokens, and say which of them the tower reads.

        A prompt with placement "insert" stands between class token and patches; one with placement "replace"
        overwrites patches, which are 0.

        Raises:
            InputError: the tokens are not a class token, a prompt and a square grid.
        """
        hidden = self.prompt_tokens
        inserted = len(hidden) if self.prompt and self.prompt.placement == "insert" else 0
        patches = row[..., 1 + inserted :].clone()
        count = patches.shape[-1]
        side = isqrt(count)
        if side * side != count:
            raise InputError(
                f"the image tower has {self.tokens} tokens, which are no class token, prompt and square grid of "
                "patches; maps are supported for towers with this order only"
            )
        seen = torch.ones(count, dtype=torch.bool, device=row.device)
        if hidden and not inserted:
            seen[[position - 1 for position in hidden]] = False
        patches[..., ~seen] = 0
        return patches.unflatten(-1, (side, side)), seen.view(side, side)


@dataclass(frozen=True)
class Pass:
    """One image through the image tower and the method.

    Attributes:
        blocks: the attention of each block, first block first.
        layout: where the tokens are.
        logits: (C,), with the graph that leads to the attention.
        label: the class to explain.
    """

    blocks: list[Attention]
    layout: Layout
    logits: Tensor
    label: int

    def gradients(self, of: Iterable[Tensor]) -> list[Tensor]:
        """The gradients of the score (logit) of the class to explain; no parameter gets one."""
        tensors = list(of)
        found = torch.autograd.grad(self.logits[self.label], tensors, allow_unused=True)
        return [torch.zeros_like(t) if g is None else g for t, g in zip(tensors, found, strict=True)]

    def evidence(self, row: Tensor) -> Evidence:
        """The result of an explainer that gives values (L,) of all tokens."""
        grid, seen = self.layout.grid(row.detach().float())
        return Evidence(grid, seen, self.logits.detach(), self.label)


def attend(predictor: Predictor, pixels: Tensor, label: int | None) -> Pass:
    """Run one image (1, 3, H, W) through the tuned model and keep the attention of its image tower.

    Prompts, changes inside the towers, adapters and caches of the method take part.

    Args:
        predictor: the tuned model.
        pixels: normalised, on the predictor's device.
        label: the class to explain; None for that with the largest logit.

    Raises:
        InputError: the image tower has no tokens, or does not compute its attention with torch's function.
    """
    method, backbone, recorder = predictor.method, predictor.backbone, AttentionRecorder()
    if not backbone.image_tokens:
        raise InputError(
            f"the image tower of {backbone.name} is a convolutional network and has no attention; use explainer "
            "'grad-cam'"
        )
    with method.adapted():
        prompt = method.visual_prompt()
        with recorder:
            features = method.encode_images(pixels)
        (logits,) = method.logits(features).float()
    if len(recorder.blocks) != backbone.vision_depth:
        raise InputError(
            f"{len(recorder.blocks)} of {backbone.vision_depth} blocks of the image tower of {backbone.name} compute "
            "their attention with F.scaled_dot_product_attention, and maps need all; unset TIMM_FUSED_ATTN if it is set"
        )
    layout = Layout(prompt, recorder.blocks[-1].key.shape[-2], len(recorder.blocks))
    return Pass(recorder.blocks, layout, logits, explained_label(logits, label))


def propagate(steps: Iterable[Tensor], layout: Layout) -> Tensor:
    """Multiply what each block adds to its tokens, and return the row (L,) of the class token.

    Prompt tokens that are written anew before a block do not come from the image: their rows start from the identity
    again.

    Args:
        steps: for each block the matrix (R, L) from its input to its output, of all tokens or of the class token.
        layout: where the prompt tokens are.
    """
    total = identity = torch.eye(layout.tokens)
    for block, step in enumerate(steps):
        if layout.overwritten(block):
            total = total.clone()
            total[layout.prompt_tokens] = identity[layout.prompt_tokens]
        total = step.cpu() @ total
    return total[0]
