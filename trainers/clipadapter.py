"""A small network on image features."""

from torch import Tensor, nn

from dassl.errors import InputError
from trainers.frozen_text import FrozenText
from trainers.registry import register_method
from trainers.settings import setting


@register_method
class CLIPAdapter(FrozenText):
    """CLIP-Adapter (Gao et al., arXiv 2110.04544, eq. 4 and 6): F' = RATIO · A(F) + (1 − RATIO) · F, text frozen, CE.

    A: two layers without biases, of width D / REDUCTION and D, with ReLUs. F' is not normalised again, as in the
    published code.
    """

    learns = "two-layer adapter on image features"
    trainable_parameters = 131_072
    source = "arXiv 2110.04544"
    verified_against = "official code: 20 steps"

    class Config(FrozenText.Config):
        RATIO: float = setting(0.5, "share of the adapted feature", at_least=0, at_most=1)
        REDUCTION: int = setting(4, "the hidden layer is narrower than the feature by this factor", at_least=1)
        SCHEDULE: str = setting(
            "epoch",
            "update the learning rate every epoch, or every step (the official Biomed-DPT code: the cosine's period is "
            "counted in epochs but followed in steps, so the rate rises and falls)",
            choices=("epoch", "step"),
        )

    def build(self) -> None:
        self.schedule_per_step = self.config.SCHEDULE == "step"
        width = self.backbone.embed_dim
        narrow = width // self.config.REDUCTION
        if not narrow:
            raise InputError(f"TRAINER.CLIPADAPTER.REDUCTION is {self.config.REDUCTION}; it must be at most {width}")
        self.adapter = nn.Sequential(
            nn.Linear(width, narrow, bias=False), nn.ReLU(), nn.Linear(narrow, width, bias=False), nn.ReLU()
        )

    def logits(self, images: Tensor) -> Tensor:
        return super().logits(self.config.RATIO * self.adapter(images) + (1 - self.config.RATIO) * images)
