"""Dual-modality prompt tuning: a learned text context and learned image tokens."""

from clip import VisualPrompt
from trainers.coop import CoOp
from trainers.registry import register_method
from trainers.visual import VisualTokens, VisualTokensConfig


@register_method
class DPT(CoOp):
    """DPT (Xing et al., arXiv 2208.08340) as compared in the Biomed-DPT paper: CoOp's context and VPT's tokens."""

    learns = "text context, image tokens"
    trainable_parameters = 6_144
    source = "arXiv 2208.08340"
    verified_against = "official code: 20 steps (replace)"
    needs_image_tokens = True

    class Config(VisualTokensConfig, CoOp.Config):
        """Settings of CoOp and of the image tokens."""

    def build(self) -> None:
        super().build()
        self.tokens = VisualTokens.from_config(self.backbone, self.config)

    def visual_prompt(self) -> VisualPrompt:
        return self.tokens.prompt()
