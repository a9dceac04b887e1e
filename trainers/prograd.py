"""CoOp whose steps do not work against zero-shot knowledge."""

import torch
from torch import Tensor
from torch.nn import functional as F

from dassl.engine import TRAINER_REGISTRY
from trainers.coop import CoOp
from trainers.losses import soft_cross_entropy


@TRAINER_REGISTRY.register()
class ProGrad(CoOp):
    """Prompt-aligned gradient (Zhu et al., arXiv 2205.14865, eq. 5).

    The gradient of CE loses LAMBDA times its part along the gradient of the KL to the teacher where the two conflict.
    Settings beside CoOp's: T, the temperature of the KL; LAMBDA; TEMPLATE, the zero-shot teacher's sentence; TEACHER
    zeroshot (the paper) or self (the officially published Biomed-DPT code: the student, which makes the KL's gradient
    zero but for rounding).
    """

    source = "arXiv 2205.14865"
    checked = "official code: first step; by hand"
    stackable = False  # each run goes through the text tower's gradient twice, on its own prompts
    choices = {**CoOp.choices, "TEACHER": ("zeroshot", "self")}
    defaults = {**CoOp.defaults, "T": 1.0, "LAMBDA": 1.0, "TEMPLATE": "a photo of a {}.", "TEACHER": "zeroshot"}

    def set_classes(self, classnames: list[str]) -> None:
        super().set_classes(classnames)
        self.zero_shot = self.encoder.sentences(self.template_texts(classnames))

    def parts(self, batch: dict) -> tuple[Tensor, Tensor, Tensor]:
        """Logits (B, C), CE, and T² times the cross-entropy to the teacher, whose gradient is the KL's."""
        images, scale = self.image_features(batch), self.backbone.logit_scale
        logits = scale * images @ self.text_features().T
        teacher = logits.detach() if self.settings.TEACHER == "self" else scale * images @ self.zero_shot.T
        return logits, F.cross_entropy(logits, batch["label"]), soft_cross_entropy(logits, teacher, self.settings.T)

    def loss(self, batch: dict) -> tuple[Tensor, dict[str, Tensor]]:
        logits, ce, kl = self.parts(batch)
        context, scale = self.context.ctx, self.precision.scaled(torch.ones_like(ce))
        (towards_labels,) = torch.autograd.grad(ce * scale, context, retain_graph=True)
        (towards_teacher,) = torch.autograd.grad(kl * scale, context)
        gradient = project(towards_labels / scale, towards_teacher / scale, self.settings.LAMBDA)
        # A number equal to CE whose gradient is the projected one.
        return logits, {"ce": ce.detach() + ((context - context.detach()) * gradient).sum()}


def project(gradient: Tensor, general: Tensor, weight: float) -> Tensor:
    """`gradient`, without `weight` times its part along `general` where the two point against each other (eq. 5)."""
    along = (gradient * general).sum()
    conflicting = gradient - weight * along / general.square().sum().clamp_min(1e-30) * general
    return torch.where(along < 0, conflicting, gradient)
