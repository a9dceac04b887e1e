"""Low-rank additions to the attention projections of a frozen backbone."""

import contextlib
import math
from collections.abc import Iterator, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clip.backbone import Backbone, Projection


class LoRA(nn.Module):
    """Replaces W x by W x + scale · B A dropout(x) in attention projections (Hu et al., arXiv 2106.09685, eq. 3).

    A (r, in) is initialised as torch initialises linear layers, B (rows, r) with zeros. The projections change only
    while an `applied` context is open.

    Args:
        backbone: the backbone that the projections belong to.
        projections: the projections to change.
        rank: r.
        scale: factor of the additions.
        dropout: dropout probability during training.
    """

    def __init__(self, backbone: Backbone, projections: Sequence[Projection], rank: int, scale: float, dropout: float):
        super().__init__()
        self.scale, self.dropout = scale, dropout
        self._adapted = backbone.adapted  # the method alone: a module as attribute would add its parameters to these
        self.projections = list(projections)
        self.down, self.up = nn.ParameterList(), nn.ParameterList()
        for layer, rows in self.projections:
            start = nn.init.kaiming_uniform_(torch.empty(rank, layer.in_features), a=math.sqrt(5))
            self.down.append(nn.Parameter(start))
            self.up.append(nn.Parameter(torch.zeros(len(range(*rows.indices(layer.out_features))), rank)))

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Add B A x to the output of the projections while the context is open."""
        additions = [partial(self._addition, down, up) for down, up in zip(self.down, self.up, strict=True)]
        with self._adapted(zip(self.projections, additions, strict=True)):
            yield

    def _addition(self, down: Tensor, up: Tensor, x: Tensor) -> Tensor:
        x = F.dropout(x, self.dropout, self.training)
        return self.scale * F.linear(F.linear(x, down), up)
