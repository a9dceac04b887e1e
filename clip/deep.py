"""Deep prompts of a text tower: tokens that are written anew before its later layers."""

import contextlib
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn


@contextlib.contextmanager
def deep_prompts(layers: Sequence[nn.Module], deep: Tensor | None) -> Iterator[None]:
    """In this block, tokens 1 … n of what enters the layers 2 … J are overwritten with `deep` (J - 1, n, W).

    The layers take hidden states (N, L, W) as their first argument. Hooks leave masks and attention to the library.
    """
    values = () if deep is None else deep
    if len(values) >= len(layers):
        raise ValueError(f"deep prompts for {len(values) + 1} layers, the text tower has {len(layers)}")

    def overwrite(value: Tensor):
        def hook(_layer: nn.Module, args: tuple) -> tuple:
            hidden, *rest = args
            written = value.to(hidden.dtype).expand(len(hidden), -1, -1)
            return torch.cat([hidden[:, :1], written, hidden[:, 1 + len(value) :]], dim=1), *rest

        return hook

    hooks = [
        layer.register_forward_pre_hook(overwrite(value)) for layer, value in zip(layers[1:], values, strict=False)
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
