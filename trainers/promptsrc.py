"""Prompts in both towers that are held to the frozen model in three ways."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dassl.engine import TRAINER_REGISTRY
from trainers.coop import CoOp
from trainers.losses import kl_to_teacher
from trainers.teacher import mean_feature
from trainers.visual import LearnsVisualTokens


@TRAINER_REGISTRY.register()
class PromptSRC(LearnsVisualTokens, CoOp):
    """Self-regulating prompts (Khattak et al., arXiv 2307.06948).

    Loss (eq. 5): CE + TEXT_WEIGHT · mean|T − T*| + IMAGE_WEIGHT · mean|F − F₀| + KL of the logits to the frozen ones;
    T* the mean feature of N_PROMPTS sentences per class (0: of TEMPLATE alone), F₀ the frozen tower's features. The
    final prompts are the mean of all epochs' with weights of a Gaussian N(GPA_MEAN, GPA_STD²) over epochs (eq. 7).
    Settings beside CoOp's and VPT's: these, and PROMPT_DEPTH of the text context.
    """

    learns = "text context and image tokens in J layers"
    numbers = 55_296
    source = "arXiv 2307.06948"
    checked = "losses and averaging by hand"
    choices = {**CoOp.choices, **LearnsVisualTokens.visual_choices}
    defaults = {
        **CoOp.defaults,
        **LearnsVisualTokens.visual_defaults,
        "VISUAL_DEPTH": 9,
        "PROMPT_DEPTH": 9,
        "N_PROMPTS": 50,
        "TEMPLATE": "a photo of a {}.",
        "TEXT_WEIGHT": 25.0,
        "IMAGE_WEIGHT": 10.0,
        "GPA_MEAN": 45.0,
        "GPA_STD": 5.0,
    }

    def text_depth(self) -> int:
        return min(self.settings.PROMPT_DEPTH, self.backbone.text_depth)

    def build_prompts(self) -> nn.Module:
        if self.settings.N_PROMPTS:
            self.teacher = mean_feature(self.sentence_features(self.classnames))
        else:
            self.teacher = self.encoder.sentences(self.template_texts(self.classnames))
        learner = nn.ModuleDict({"context": super().build_prompts(), "tokens": self.build_tokens()})
        self.average = Average(learner)
        return learner

    def loss(self, batch: dict) -> tuple[Tensor, dict[str, Tensor]]:
        images, text, scale = self.image_features(batch), self.text_features(), self.backbone.logit_scale
        with torch.no_grad():
            frozen = F.normalize(self.backbone.encode_image(batch["img"]).float(), dim=-1)
        logits = scale * images @ text.T
        return logits, {
            "ce": F.cross_entropy(logits, batch["label"]),
            "text": self.settings.TEXT_WEIGHT * (text - self.teacher).abs().mean(),
            "image": self.settings.IMAGE_WEIGHT * (images - frozen).abs().mean(),
            "kl": kl_to_teacher(logits, scale * frozen @ self.teacher.T),
        }

    def after_epoch(self) -> None:
        self.average.add(self.learner, gauss(self.epoch + 1, self.settings.GPA_MEAN, self.settings.GPA_STD))
        if self.epoch + 1 == self.max_epoch:
            self.average.write_to(self.learner)
        super().after_epoch()

    def resumable(self) -> dict:
        return {**super().resumable(), "average": self.average}


def gauss(epoch: int, mean: float, std: float) -> float:
    """The weight of an epoch, counted from 1, up to a factor that all have."""
    return math.exp(-0.5 * ((epoch - mean) / std) ** 2)


class Average(nn.Module):
    """A running weighted mean of a module's parameters."""

    def __init__(self, module: nn.Module):
        super().__init__()
        self.register_buffer("weight", torch.zeros((), dtype=torch.float64))
        for k, value in enumerate(module.state_dict().values()):
            self.register_buffer(f"sum{k}", torch.zeros_like(value, dtype=torch.float64, device="cpu"))

    @torch.no_grad()
    def add(self, module: nn.Module, weight: float) -> None:
        self.weight += weight
        for k, value in enumerate(module.state_dict().values()):
            self._buffers[f"sum{k}"] += weight * value.cpu()

    @torch.no_grad()
    def write_to(self, module: nn.Module) -> None:
        if self.weight > 0:
            for k, value in enumerate(module.state_dict().values()):
                value.copy_(self._buffers[f"sum{k}"] / self.weight)
