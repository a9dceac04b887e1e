"""Dual-modality prompt tuning: a learned text context and learned image tokens."""

from torch import nn

from dassl.engine import TRAINER_REGISTRY
from trainers.coop import CoOp
from trainers.visual import LearnsVisualTokens


@TRAINER_REGISTRY.register()
class DPT(LearnsVisualTokens, CoOp):
    """DPT (Xing et al., arXiv 2208.08340) as compared in the Biomed-DPT paper: CoOp's context and VPT's shallow tokens.

    Settings: CoOp's and VPT's.
    """

    learns = "text context, image tokens"
    numbers = 6_144
    source = "arXiv 2208.08340"
    checked = "official code: 20 steps (replace)"
    choices = {**CoOp.choices, **LearnsVisualTokens.visual_choices}
    defaults = {**CoOp.defaults, **LearnsVisualTokens.visual_defaults}

    def build_prompts(self) -> nn.Module:
        return nn.ModuleDict({"context": super().build_prompts(), "tokens": self.build_tokens()})
