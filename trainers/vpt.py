"""Visual prompt tuning: learned tokens in the image tower, text frozen."""

from clip import VisualPrompt
from trainers.frozen_text import FrozenText
from trainers.registry import register_method
from trainers.settings import inherited
from trainers.visual import VisualTokens, VisualTokensConfig


@register_method
class VPT(FrozenText):
    """VPT-shallow (Jia et al., arXiv 2203.12119, eq. 4): learned tokens before the first block, text frozen."""

    learns = "image tokens before the first block"
    trainable_parameters = 3_072
    source = "arXiv 2203.12119"
    verified_against = "official code: 20 steps (replace)"
    needs_image_tokens = True

    class Config(VisualTokensConfig, FrozenText.Config):
        """Settings of the frozen text and of the image tokens."""

    def build(self) -> None:
        self.tokens = VisualTokens.from_config(self.backbone, self.config)

    def visual_prompt(self) -> VisualPrompt:
        return self.tokens.prompt()


@register_method
class VPTDeep(VPT):
    """VPT-deep (arXiv 2203.12119, eq. 5): other learned tokens before every block."""

    learns = "image tokens before every block"
    trainable_parameters = 36_864
    verified_against = "a loop of a few lines"

    class Config(VPT.Config):
        VISUAL_DEPTH: int = inherited(VPT.Config, "VISUAL_DEPTH", 0)
