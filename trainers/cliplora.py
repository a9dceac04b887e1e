"""Low-rank changes of the attention in both towers."""

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from yacs.config import CfgNode

from clip import Backbone, Tower
from prompts import filled
from trainers.lora import LoRA
from trainers.method import Method, Optimization
from trainers.registry import register_method
from trainers.settings import TemplateConfig, setting

ENCODERS: dict[str, tuple[Tower, ...]] = {"both": ("text", "image"), "text": ("text",), "image": ("image",)}
LAST_LR = 1e-6  # at the end of the cosine


@register_method
class CLIPLoRA(Method):
    """CLIP-LoRA (Zanella and Ben Ayed, arXiv 2405.18541): low-rank additions to attention weights, CE.

    The additions have rank RANK and are scaled by ALPHA / √RANK. AdamW, a cosine that is followed step by step.
    """

    learns = "low-rank additions to q, k, v in every block"
    trainable_parameters = 221_184
    source = "arXiv 2405.18541"
    verified_against = "formula and schedule by hand"
    schedule_per_step = True
    reads = ("OPTIM.LR", "OPTIM.WEIGHT_DECAY", "OPTIM.ADAM_BETA1", "OPTIM.ADAM_BETA2")

    class Config(TemplateConfig, Method.Config):
        ENCODER: str = setting("both", "which towers are changed", choices=tuple(ENCODERS))
        PARAMS: str = setting("qkv", "which projections of the attention are changed: letters of qkv")
        RANK: int = setting(2, "rank of the additions", at_least=1, at_most=1000)
        ALPHA: float = setting(1.0, "the additions are scaled by ALPHA / √RANK", above=0, at_most=1e6)
        DROPOUT: float = setting(0.25, "dropout on the input of the additions", at_least=0, below=1)
        ITERATIONS_PER_SHOT: int = setting(
            500, "training steps per shot; 0 for OPTIM.MAX_EPOCH epochs instead", at_least=0
        )

        def problem(self) -> str:
            distinct = set(self.PARAMS)
            if distinct and distinct <= set("qkv") and len(distinct) == len(self.PARAMS):
                return ""
            return f"PARAMS is '{self.PARAMS}'; it must hold one or more of the letters q, k and v, each once"

    @classmethod
    def why_unsupported(cls, backbone: type[Backbone], config: Any, protocol: str) -> str:
        if config.ENCODER != "text" and not backbone.image_tokens:
            return (
                "CLIPLoRA changes the attention of transformer blocks, and the image tower of this backbone is a "
                "convolutional network; with TRAINER.CLIPLORA.ENCODER text only the text tower is changed"
            )
        return super().why_unsupported(backbone, config, protocol)

    def build(self) -> None:
        config = self.config
        blocks = [b for tower in ENCODERS[config.ENCODER] for b in self.backbone.attention_projections(tower)]
        chosen = [block[name] for block in blocks for name in config.PARAMS]
        scale = config.ALPHA / math.sqrt(config.RANK)
        self.lora = LoRA(self.backbone, chosen, config.RANK, scale, config.DROPOUT)

    @property
    def epochs(self) -> int:
        steps = self.config.ITERATIONS_PER_SHOT * self.setup.shots
        return max(1, round(steps / self.setup.steps_per_epoch)) if steps else self.setup.epochs

    def build_optimization(self, optim: CfgNode) -> Optimization:
        betas = optim.ADAM_BETA1, optim.ADAM_BETA2
        optimizer = torch.optim.AdamW(self.parameters(), optim.LR, betas, weight_decay=optim.WEIGHT_DECAY)
        steps = self.epochs * self.setup.steps_per_epoch
        return optimizer, torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps, LAST_LR)

    @property
    def image_tower_is_frozen(self) -> bool:
        return self.config.ENCODER == "text"

    @contextlib.contextmanager
    def adapted(self) -> Iterator[None]:
        with self.lora.applied():
            yield

    def set_classes(self, classnames: list[str]) -> None:
        super().set_classes(classnames)
        self._tokens = self.backbone.tokenize([filled(self.config.TEMPLATE, name) for name in classnames])
        if self.config.ENCODER == "image" and self.setup.for_training:
            self.keep_text(self.template_features(self.config.TEMPLATE, classnames))

    def encode_classes(self) -> Tensor:
        words = self.backbone.embed_tokens(self._tokens.ids)
        return F.normalize(self.backbone.encode_text(words, self._tokens.mask), dim=-1)
