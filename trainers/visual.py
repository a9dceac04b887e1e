"""Learned tokens in the image tower."""

from typing import cast

import torch
from torch import nn

from clip import PLACEMENTS, Backbone, Placement, VisualPrompt
from trainers.settings import Settings, setting

STD = 0.02  # of the normal distribution of the starting values, as in CoOp-style code


class VisualTokensConfig(Settings):
    """The settings of methods that learn tokens in the image tower."""

    VISUAL_TOKENS: int = setting(4, "number of learned tokens before a block", at_least=1, at_most=1000)
    VISUAL_DEPTH: int = setting(1, "before how many blocks new tokens are learned; 0 for all", at_least=0, at_most=1000)
    VISUAL_PLACEMENT: str = setting(
        "insert", "insert tokens (the paper) or replace patches (the official Biomed-DPT code)", choices=PLACEMENTS
    )


class VisualTokens(nn.Module):
    """Learned tokens (depth, n, W) before the first `depth` blocks (VPT, arXiv 2203.12119, eq. 4 and 5).

    Args:
        backbone: gives width and number of blocks.
        tokens: n.
        depth: before how many blocks; 0 for all, more than there are counts as all.
        placement: "insert" into the sequence, or "replace" its first patches.
    """

    def __init__(self, backbone: Backbone, tokens: int, depth: int, placement: Placement):
        super().__init__()
        self.placement = placement
        depth = min(depth or backbone.vision_depth, backbone.vision_depth)
        self.values = nn.Parameter(torch.empty(depth, tokens, backbone.vision_width).normal_(std=STD))

    @classmethod
    def from_config(cls, backbone: Backbone, config: VisualTokensConfig) -> "VisualTokens":
        """Tokens as a method's settings describe them."""
        placement = cast(Placement, config.VISUAL_PLACEMENT)
        return cls(backbone, config.VISUAL_TOKENS, config.VISUAL_DEPTH, placement)

    def prompt(self) -> VisualPrompt:
        """The visual prompt with the current values of the tokens."""
        depth, tokens, _ = self.values.shape
        return VisualPrompt(tokens, depth, self.placement, self.values)
