"""Low-rank additions to linear layers that belong to somebody else and stay as they are."""

import contextlib
import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clip.backbone import Projection


class LoRA(nn.Module):
    """W x + scale · B A dropout(x) for some rows of linear layers (Hu et al., arXiv 2106.09685, eq. 3).

    A (r, in) starts as torch's linear layers do, B (rows, r) from zeros. The layers add them in `applied` blocks only.

    Args:
        projections: layers and rows of their output.
        rank: r.
        scale: factor of the additions.
        dropout: its probability while training.
    """

    def __init__(self, projections: Sequence[Projection], rank: int, scale: float, dropout: float):
        super().__init__()
        self.scale, self.dropout = scale, dropout
        self.places = list(projections)
        self.down, self.up = nn.ParameterList(), nn.ParameterList()
        for layer, rows in self.places:
            start = nn.init.kaiming_uniform_(torch.empty(rank, layer.in_features), a=math.sqrt(5))
            self.down.append(nn.Parameter(start))
            self.up.append(nn.Parameter(torch.zeros(len(range(*rows.indices(layer.out_features))), rank)))

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """In this block the layers give what they give and the additions."""
        hooks = []
        for (layer, rows), down, up in zip(self.places, self.down, self.up, strict=True):
            hooks.append(layer.register_forward_hook(self._addition(rows, down, up)))
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _addition(self, rows: slice, down: Tensor, up: Tensor):
        def hook(layer: nn.Module, args: tuple, output: Tensor) -> Tensor:
            start, stop, _ = rows.indices(output.shape[-1])
            entering = F.dropout(args[0], self.dropout, self.training)
            added = self.scale * F.linear(F.linear(entering, down), up)
            return output + F.pad(added, (start, output.shape[-1] - stop))

        return hook
