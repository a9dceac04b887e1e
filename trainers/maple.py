"""Learned prompts in both towers, the image's made of the text's."""

import torch
from torch import Tensor, nn

from clip import PLACEMENTS, VisualPrompt
from dassl.engine import TRAINER_REGISTRY
from trainers.coop import CoOp


@TRAINER_REGISTRY.register()
class MaPLe(CoOp):
    """Multi-modal prompt learning (Khattak et al., arXiv 2210.03117, eq. 3 to 7).

    A learned text context in the first PROMPT_DEPTH layers; the image tower's tokens in the same layers are linear
    projections of them. Settings beside CoOp's: PROMPT_DEPTH J, at most as many layers as the shallower tower has;
    VISUAL_PLACEMENT insert (the paper) or replace (the officially published Biomed-DPT code).
    """

    learns = "text context in J layers, projections to image tokens"
    numbers = 7_123_968
    source = "arXiv 2210.03117"
    checked = "official code: 20 steps (J 1, replace)"
    needs_image_tokens = True
    choices = {**CoOp.choices, "VISUAL_PLACEMENT": PLACEMENTS}
    defaults = {**CoOp.defaults, "PROMPT_DEPTH": 12, "VISUAL_PLACEMENT": "insert"}

    def text_depth(self) -> int:
        return min(self.settings.PROMPT_DEPTH, self.backbone.text_depth, self.backbone.vision_depth)

    def build_prompts(self) -> nn.Module:
        context = super().build_prompts()
        widths = self.backbone.text_width, self.backbone.vision_width
        self.projections = nn.ModuleList(nn.Linear(*widths) for _ in range(self.text_depth()))
        return nn.ModuleDict({"context": context, "projections": self.projections})

    @property
    def visual_prompt(self) -> VisualPrompt:
        context = self.context.ctx[None]
        layers: Tensor = context if self.context.deep is None else torch.cat([context, self.context.deep])
        values = torch.stack([project(layer) for project, layer in zip(self.projections, layers, strict=True)])
        return VisualPrompt(values.shape[1], len(values), self.settings.VISUAL_PLACEMENT, values)
