"""Prompts in both towers with three terms that keep them near the frozen model."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clip import VisualPrompt
from trainers.coop import CoOp
from trainers.losses import kl_to_teacher
from trainers.registry import register_method
from trainers.settings import TemplateConfig, inherited, setting
from trainers.teacher import mean_feature
from trainers.visual import VisualTokens, VisualTokensConfig


@register_method
class PromptSRC(CoOp):
    """Self-regulating prompts (Khattak et al., arXiv 2307.06948).

    Loss (eq. 5): CE + TEXT_WEIGHT · mean|T − T*| + IMAGE_WEIGHT · mean|F − F₀| + KL of the logits to the frozen ones;
    T* is the mean feature of N_PROMPTS sentences per class, F₀ the frozen tower's features. The final prompts are the
    mean over all epochs, weighted by a Gaussian N(GPA_MEAN, GPA_STD²) of the epoch (eq. 7).
    """

    learns = "text context and image tokens in J layers"
    trainable_parameters = 55_296
    source = "arXiv 2307.06948"
    verified_against = "losses and averaging by hand"
    needs_image_tokens = True

    class Config(TemplateConfig, VisualTokensConfig, CoOp.Config):
        VISUAL_DEPTH: int = inherited(VisualTokensConfig, "VISUAL_DEPTH", 9)
        PROMPT_DEPTH: int = setting(9, "J, in how many layers of the text tower the context is learned", at_least=1)
        N_PROMPTS: int = setting(50, "sentences per class that T* is the mean of; 0 for TEMPLATE alone", at_least=0)
        TEXT_WEIGHT: float = setting(25.0, "weight of the distance of the text features", at_least=0)
        IMAGE_WEIGHT: float = setting(10.0, "weight of the distance of the image features", at_least=0)
        GPA_MEAN: float = setting(45.0, "epoch with the largest weight in the mean of prompts")
        GPA_STD: float = setting(5.0, "standard deviation of these weights, in epochs", above=0)

    def text_depth(self) -> int:
        return min(self.config.PROMPT_DEPTH, self.backbone.text_depth)

    def build(self) -> None:
        super().build()
        self.tokens = VisualTokens.from_config(self.backbone, self.config)
        self.average = Average(self)

    def prepare_training(self) -> None:
        if self.config.N_PROMPTS:
            self.teacher = mean_feature(self.sentence_features(self.classnames, self.config.N_PROMPTS))
        else:
            self.teacher = self.template_features(self.config.TEMPLATE, self.classnames)

    def visual_prompt(self) -> VisualPrompt:
        return self.tokens.prompt()

    def training_step(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        images, text = self.image_features(batch), self.text_features()
        with torch.no_grad():
            frozen = F.normalize(self.backbone.encode_image(batch["img"]).float(), dim=-1)
        logits = self.similarities(images, text)
        return logits, {
            "ce": F.cross_entropy(logits, batch["label"]),
            "text": self.config.TEXT_WEIGHT * (text - self.teacher).abs().mean(),
            "image": self.config.IMAGE_WEIGHT * (images - frozen).abs().mean(),
            "kl": kl_to_teacher(logits, self.similarities(frozen, self.teacher)),
        }

    def after_epoch(self, epoch: int) -> None:
        self.average.add(self, gauss(epoch + 1, self.config.GPA_MEAN, self.config.GPA_STD))
        if epoch + 1 == self.epochs:
            self.average.write_to(self)

    def training_state(self) -> dict[str, Any]:
        return {"average": self.average}


def gauss(epoch: int, mean: float, std: float) -> float:
    """The weight of an epoch, counted from 1; weights are not normalised."""
    return math.exp(-0.5 * ((epoch - mean) / std) ** 2)


class Average:
    """A running weighted mean of a module's state, in fp64 on the CPU."""

    def __init__(self, module: nn.Module):
        self.weight = torch.zeros((), dtype=torch.float64)
        values = module.state_dict().values()
        self.sums = [torch.zeros_like(value, dtype=torch.float64, device="cpu") for value in values]

    @torch.no_grad()
    def add(self, module: nn.Module, weight: float) -> None:
        """Add the module's current state with a weight."""
        self.weight += weight
        for total, value in zip(self.sums, module.state_dict().values(), strict=True):
            total += weight * value.cpu()

    @torch.no_grad()
    def write_to(self, module: nn.Module) -> None:
        """Replace the module's state by the mean; without any weight it stays as it is."""
        if self.weight > 0:
            for total, value in zip(self.sums, module.state_dict().values(), strict=True):
                value.copy_(total / self.weight)

    def state_dict(self) -> dict[str, Tensor]:
        return {"weight": self.weight, **{f"sum{k}": total for k, total in enumerate(self.sums)}}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.weight.copy_(state["weight"])
        for k, total in enumerate(self.sums):
            total.copy_(state[f"sum{k}"])
