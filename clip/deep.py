"""Deep prompts of a text tower: tokens that are overwritten before its later layers."""

import contextlib
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn


@contextlib.contextmanager
def deep_prompts(layers: Sequence[nn.Module], deep: Tensor | None) -> Iterator[None]:
    """Overwrite tokens 1 … n of the input of layers 2 … J with `deep` (J - 1, n, W) while the context is open.

    The first argument of each layer must be the hidden states (N, L, W). Forward pre-hooks do the work, so that the
    library's own code still handles masks and attention.

    Raises:
        ValueError: there are prompts for more layers than the text tower has.
    """
    values = [] if deep is None else list(deep)
    if len(values) >= len(layers):
        raise ValueError(f"there are deep prompts for {len(values) + 1} layers, but the text tower has {len(layers)}")

    def overwrite(value: Tensor) -> Callable[[nn.Module, tuple], tuple]:
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
