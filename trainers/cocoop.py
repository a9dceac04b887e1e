"""CoOp with a context that depends on the image."""

import torch
from torch import Tensor, nn

from trainers.coop import CoOp
from trainers.registry import register_method

TEST_PROMPTS = {"cpu": 64, "cuda": 4096}  # prompts encoded at a time when many images are tested


@register_method
class CoCoOp(CoOp):
    """Conditional context optimisation (Zhou et al., arXiv 2203.05557, eq. 3).

    A small network maps each image's feature to a vector that is added to every token of the context. The text tower
    encodes B·C prompts in one batch.
    """

    learns = "text context, meta-network"
    trainable_parameters = 44_832
    source = "arXiv 2203.05557"
    text_depends_on_image = True
    stackable = False

    def build(self) -> None:
        super().build()
        hidden = self.backbone.embed_dim // 16
        self.meta_net = nn.Sequential()
        self.meta_net.add_module("linear1", nn.Linear(self.backbone.embed_dim, hidden))
        self.meta_net.add_module("relu", nn.ReLU())
        self.meta_net.add_module("linear2", nn.Linear(hidden, self.backbone.text_width))

    def logits(self, images: Tensor) -> Tensor:
        size = len(images)
        if not torch.is_grad_enabled():
            size = max(1, TEST_PROMPTS.get(images.device.type, 64) // len(self.classnames))
        return torch.cat([self._logits(part) for part in images.split(size)])

    def _logits(self, images: Tensor) -> Tensor:
        text = self.context.features(shift=self.meta_net(images))
        return self.backbone.logit_scale * torch.einsum("bd,bcd->bc", images, text)
