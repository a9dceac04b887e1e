"""Low-rank changes of the attention in both towers."""

import contextlib
import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from yacs.config import CfgNode

from clip import Backbone
from dassl.engine import TRAINER_REGISTRY
from trainers.lora import LoRA
from trainers.zeroshot import ZeroShot

ENCODERS = {"both": ("text", "image"), "text": ("text",), "image": ("image",)}
LAST_LR = 1e-6  # where the cosine ends


@TRAINER_REGISTRY.register()
class CLIPLoRA(ZeroShot):
    """CLIP-LoRA (Zanella and Ben Ayed, arXiv 2405.18541): low-rank additions to attention weights, CE.

    Settings beside ZeroShot's TEMPLATE: ENCODER both, text or image; PARAMS, which of the projections q, k and v;
    RANK r and ALPHA, the additions are scaled by ALPHA / √r; DROPOUT on what enters them; ITERATIONS_PER_SHOT, steps
    of training for each shot (0: OPTIM.MAX_EPOCH epochs).
    """

    learns = "low-rank additions to q, k, v in every block"
    numbers = 221_184
    source = "arXiv 2405.18541"
    checked = "formula and schedule by hand"
    schedule_per_step = True
    choices = {"ENCODER": tuple(ENCODERS)}
    defaults = {
        "TEMPLATE": "a photo of a {}.",
        "ENCODER": "both",
        "PARAMS": "qkv",
        "RANK": 2,
        "ALPHA": 1.0,
        "DROPOUT": 0.25,
        "ITERATIONS_PER_SHOT": 500,
        "PREC": "fp32",
    }

    @classmethod
    def refusal(cls, backbone: type[Backbone], cfg: CfgNode) -> str:
        reason = super().refusal(backbone, cfg)
        if cfg.TRAINER.CLIPLORA.ENCODER != "text" and not backbone.image_tokens:
            return (
                "CLIPLoRA changes the attention of transformer blocks, and the image tower of "
                f"{cfg.MODEL.BACKBONE.NAME} is a convolutional network; with TRAINER.CLIPLORA.ENCODER text the text "
                "tower alone is changed"
            )
        return reason

    def build_prompts(self) -> nn.Module:
        settings = self.settings
        if settings.ITERATIONS_PER_SHOT:
            steps = settings.ITERATIONS_PER_SHOT * self.cfg.DATASET.NUM_SHOTS
            self.max_epoch = max(1, round(steps / self.steps_per_epoch))
        blocks = [b for tower in ENCODERS[settings.ENCODER] for b in self.backbone.attention_projections(tower)]
        chosen = [block[name] for block in blocks for name in settings.PARAMS]
        scale = settings.ALPHA / math.sqrt(settings.RANK)
        self.lora = LoRA(self.backbone, chosen, settings.RANK, scale, settings.DROPOUT)
        return self.lora

    def build_optimization(self) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
        betas = self.cfg.OPTIM.ADAM_BETA1, self.cfg.OPTIM.ADAM_BETA2
        rate, decay = self.cfg.OPTIM.LR, self.cfg.OPTIM.WEIGHT_DECAY
        optimizer = torch.optim.AdamW(self.learner.parameters(), rate, betas, weight_decay=decay)
        steps = self.max_epoch * self.steps_per_epoch
        return optimizer, torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps, LAST_LR)

    @property
    def image_tower_is_frozen(self) -> bool:
        return self.settings.ENCODER == "text"

    @contextlib.contextmanager
    def adapted(self) -> Iterator[None]:
        with self.lora.applied():
            yield

    def set_classes(self, classnames: list[str]) -> None:
        texts = self.template_texts(classnames)
        self._tokens = self.backbone.tokenize(texts)
        self._text = self.encoder.sentences(texts) if self.settings.ENCODER == "image" else None

    def text_features(self) -> Tensor:
        if self._text is not None:
            return self._text
        words = self.backbone.embed_tokens(self._tokens.ids)
        return F.normalize(self.backbone.encode_text(words, self._tokens.mask), dim=-1)

    def loss(self, batch: dict) -> tuple[Tensor, dict[str, Tensor]]:
        logits = self.logits(self.image_features(batch))
        return logits, {"ce": F.cross_entropy(logits, batch["label"])}
