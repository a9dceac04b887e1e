"""CoOp whose gradient steps do not work against zero-shot knowledge."""

import torch
from torch import Tensor
from torch.nn import functional as F

from trainers.coop import CoOp
from trainers.losses import soft_cross_entropy
from trainers.registry import register_method
from trainers.settings import TemplateConfig, setting


@register_method
class ProGrad(CoOp):
    """Prompt-aligned gradient (Zhu et al., arXiv 2205.14865, eq. 5).

    Where the gradient of CE conflicts with the gradient of the KL divergence to the teacher, LAMBDA times its component
    along that gradient is removed.
    """

    source = "arXiv 2205.14865"
    verified_against = "official code: first step; by hand"
    stackable = False  # each run differentiates through the text tower twice, on its own prompts

    class Config(TemplateConfig, CoOp.Config):
        T: float = setting(1.0, "temperature of the KL divergence", above=0)
        LAMBDA: float = setting(1.0, "how much of a conflicting component is removed", at_least=0)
        TEACHER: str = setting(
            "zeroshot",
            "zeroshot (the paper) or self (the official Biomed-DPT code: the student, so that the KL has no gradient)",
            choices=("zeroshot", "self"),
        )

    def prepare_training(self) -> None:
        self.zero_shot = self.template_features(self.config.TEMPLATE, self.classnames)

    def parts(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits (B, C), CE, and T² times the cross-entropy to the teacher, whose gradient is that of the KL."""
        logits = self.logits(images)
        teacher = logits.detach() if self.config.TEACHER == "self" else self.similarities(images, self.zero_shot)
        return logits, F.cross_entropy(logits, labels), soft_cross_entropy(logits, teacher, self.config.T)

    def losses(self, images: Tensor, labels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        logits, ce, kl = self.parts(images, labels)
        context, scale = self.context.ctx, self.scaled(torch.ones_like(ce))
        (towards_labels,) = torch.autograd.grad(ce * scale, context, retain_graph=True)
        (towards_teacher,) = torch.autograd.grad(kl * scale, context)
        gradient = project(towards_labels / scale, towards_teacher / scale, self.config.LAMBDA)
        # A value equal to CE whose gradient is the projected one.
        return logits, {"ce": ce.detach() + ((context - context.detach()) * gradient).sum()}


def project(gradient: Tensor, general: Tensor, weight: float) -> Tensor:
    """`gradient` without `weight` times its component along `general`, where the two conflict (eq. 5)."""
    along = (gradient * general).sum()
    conflicting = gradient - weight * along / general.square().sum().clamp_min(1e-30) * general
    return torch.where(along < 0, conflicting, gradient)
