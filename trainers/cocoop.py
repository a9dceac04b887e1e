"""CoOp with a context that depends on the image."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dassl.engine import TRAINER_REGISTRY
from trainers.coop import CoOp

TEST_PROMPTS = {"cpu": 64, "cuda": 4096}  # prompts encoded at a time when many images are tested


@TRAINER_REGISTRY.register()
class CoCoOp(CoOp):
    """Conditional context optimisation (Zhou et al., arXiv 2203.05557, eq. 3).

    A small network turns each image's feature into a vector that is added to every token of the context; the text
    tower runs on B·C prompts, in one batch. Settings: CoOp's.
    """

    learns = "text context, meta-network"
    numbers = 44_832
    source = "arXiv 2203.05557"
    stackable = False

    def build_prompts(self) -> nn.Module:
        learner = super().build_prompts()
        hidden = self.backbone.embed_dim // 16
        learner.meta_net = nn.Sequential()
        learner.meta_net.add_module("linear1", nn.Linear(self.backbone.embed_dim, hidden))
        learner.meta_net.add_module("relu", nn.ReLU())
        learner.meta_net.add_module("linear2", nn.Linear(hidden, self.backbone.text_width))
        return learner

    def logits(self, features: Tensor) -> Tensor:
        size = len(features)
        if not torch.is_grad_enabled():
            size = max(1, TEST_PROMPTS.get(self.device.type, 64) // len(self.classnames))
        return torch.cat([self._logits(part) for part in features.split(size)])

    def _logits(self, features: Tensor) -> Tensor:
        text = self.context.features(shift=self.context.meta_net(features))
        return self.backbone.logit_scale * torch.einsum("bd,bcd->bc", features, text)

    def loss(self, batch: dict) -> tuple[Tensor, dict[str, Tensor]]:
        logits = self.logits(self.image_features(batch))
        return logits, {"ce": F.cross_entropy(logits, batch["label"])}
