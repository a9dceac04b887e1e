"""A small network on image features."""

from torch import Tensor, nn
from torch.nn import functional as F

from dassl.engine import TRAINER_REGISTRY
from trainers.zeroshot import ZeroShot


@TRAINER_REGISTRY.register()
class CLIPAdapter(ZeroShot):
    """CLIP-Adapter (Gao et al., arXiv 2110.04544, eq. 4 and 6): F' = RATIO · A(F) + (1 − RATIO) · F, text frozen, CE.

    A: two layers without biases, of width D / REDUCTION and D, with ReLUs. F' is not normalised again, as in the
    published code. Settings beside ZeroShot's: RATIO, REDUCTION; SCHEDULE epoch, or step (the officially published
    Biomed-DPT code: the cosine's period is counted in epochs and followed in steps, so the rate rises and falls).
    """

    learns = "two-layer adapter on image features"
    numbers = 131_072
    source = "arXiv 2110.04544"
    checked = "official code: 20 steps"
    choices = {**ZeroShot.choices, "SCHEDULE": ("epoch", "step")}
    defaults = {**ZeroShot.defaults, "RATIO": 0.5, "REDUCTION": 4, "SCHEDULE": "epoch"}

    def build_prompts(self) -> nn.Module:
        self.schedule_per_step = self.settings.SCHEDULE == "step"
        width = self.backbone.embed_dim
        narrow = width // self.settings.REDUCTION
        return nn.Sequential(
            nn.Linear(width, narrow, bias=False), nn.ReLU(), nn.Linear(narrow, width, bias=False), nn.ReLU()
        )

    def logits(self, features: Tensor) -> Tensor:
        mixed = self.settings.RATIO * self.learner(features) + (1 - self.settings.RATIO) * features
        return super().logits(mixed)

    def loss(self, batch: dict) -> tuple[Tensor, dict[str, Tensor]]:
        logits = self.logits(self.image_features(batch))
        return logits, {"ce": F.cross_entropy(logits, batch["label"])}
