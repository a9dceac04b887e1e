"""Visual prompt tuning: learned tokens in the image tower, text frozen."""

from torch import Tensor, nn
from torch.nn import functional as F

from dassl.engine import TRAINER_REGISTRY
from trainers.visual import LearnsVisualTokens
from trainers.zeroshot import ZeroShot


@TRAINER_REGISTRY.register()
class VPT(LearnsVisualTokens, ZeroShot):
    """VPT-shallow (Jia et al., arXiv 2203.12119, eq. 4): learned tokens before the first block, text frozen.

    Settings beside ZeroShot's: VISUAL_TOKENS; VISUAL_DEPTH, before how many blocks new tokens are learned (0: all);
    VISUAL_PLACEMENT insert (the paper) or replace (the officially published Biomed-DPT code).
    """

    learns = "image tokens before the first block"
    numbers = 3_072
    source = "arXiv 2203.12119"
    checked = "official code: 20 steps (replace)"
    choices = {**ZeroShot.choices, **LearnsVisualTokens.visual_choices}
    defaults = {**ZeroShot.defaults, **LearnsVisualTokens.visual_defaults}

    def build_prompts(self) -> nn.Module:
        return self.build_tokens()

    def loss(self, batch: dict) -> tuple[Tensor, dict[str, Tensor]]:
        logits = self.logits(self.image_features(batch))
        return logits, {"ce": F.cross_entropy(logits, batch["label"])}


@TRAINER_REGISTRY.register()
class VPTDeep(VPT):
    """VPT-deep (arXiv 2203.12119, eq. 5): tokens of their own before every block."""

    learns = "image tokens before every block"
    numbers = 36_864
    checked = "a loop of a few lines"
    defaults = {**VPT.defaults, "VISUAL_DEPTH": 0}
