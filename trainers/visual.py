"""Learned tokens in the image tower."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from clip import PLACEMENTS, Backbone, VisualPrompt

STD = 0.02  # of the normal distribution that learned tokens start from, as in CoOp-style code


class VisualTokens(nn.Module):
    """Learned tokens (depth, n, W) before the first `depth` blocks (VPT, arXiv 2203.12119, eq. 4 and 5).

    Args:
        backbone: gives width and number of blocks.
        tokens: n.
        depth: before how many blocks; 0 for all, more than there are counts as all.
        placement: "insert" into the sequence, or "replace" its first patches.
    """

    def __init__(self, backbone: Backbone, tokens: int, depth: int, placement: str):
        super().__init__()
        self.placement = placement
        depth = min(depth or backbone.vision_depth, backbone.vision_depth)
        self.values = nn.Parameter(torch.empty(depth, tokens, backbone.vision_width).normal_(std=STD))

    def prompt(self) -> VisualPrompt:
        """The tokens as they stand now."""
        depth, tokens, _ = self.values.shape
        return VisualPrompt(tokens, depth, self.placement, self.values)


class LearnsVisualTokens:
    """A part of methods that learn tokens in the image tower; `build_prompts` sets `tokens`."""

    needs_image_tokens = True
    visual_choices: Mapping[str, tuple[str, ...]] = {"VISUAL_PLACEMENT": PLACEMENTS}
    visual_defaults: Mapping[str, Any] = {"VISUAL_TOKENS": 4, "VISUAL_DEPTH": 1, "VISUAL_PLACEMENT": "insert"}
    tokens: VisualTokens | None = None

    def build_tokens(self) -> VisualTokens:
        settings = self.settings
        self.tokens = VisualTokens(
            self.backbone, settings.VISUAL_TOKENS, settings.VISUAL_DEPTH, settings.VISUAL_PLACEMENT
        )
        return self.tokens

    @property
    def visual_prompt(self) -> VisualPrompt:
        return self.tokens.prompt()
