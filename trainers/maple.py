"""Learned prompts in both towers; those of the image tower are projected from those of the text tower."""

import torch
from torch import Tensor, nn

from clip import VisualPrompt
from trainers.coop import CoOp
from trainers.registry import register_method
from trainers.settings import inherited, setting
from trainers.visual import VisualTokensConfig


@register_method
class MaPLe(CoOp):
    """Multi-modal prompt learning (Khattak et al., arXiv 2210.03117, eq. 3 to 7).

    A text context is learned in the first PROMPT_DEPTH layers. The tokens of the image tower in the same layers are
    linear projections of it.
    """

    learns = "text context in J layers, projections to image tokens"
    trainable_parameters = 7_123_968
    source = "arXiv 2210.03117"
    verified_against = "official code: 20 steps (J 1, replace)"
    needs_image_tokens = True

    class Config(CoOp.Config):
        PROMPT_DEPTH: int = setting(12, "J, number of layers; at most those of the shallower tower", at_least=1)
        VISUAL_PLACEMENT: str = inherited(VisualTokensConfig, "VISUAL_PLACEMENT", "insert")

        def problem(self) -> str:
            if self.CSC:
                return "CSC is True; MaPLe's image tokens follow from one context of all classes"
            return super().problem()

    def text_depth(self) -> int:
        return min(self.config.PROMPT_DEPTH, self.backbone.text_depth, self.backbone.vision_depth)

    def build(self) -> None:
        super().build()
        widths = self.backbone.text_width, self.backbone.vision_width
        self.projections = nn.ModuleList(nn.Linear(*widths) for _ in range(self.text_depth()))

    def visual_prompt(self) -> VisualPrompt:
        context = self.context.ctx[None]
        layers: Tensor = context if self.context.deep is None else torch.cat([context, self.context.deep])
        values = torch.stack([project(layer) for project, layer in zip(self.projections, layers, strict=True)])
        return VisualPrompt(values.shape[1], len(values), self.config.VISUAL_PLACEMENT, values)
