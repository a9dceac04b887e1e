"""Tip-Adapter whose keys are trained."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dassl.engine import TRAINER_REGISTRY
from trainers.tipadapter import CachedClassifier

EPS = 1e-4  # of AdamW, as published


@TRAINER_REGISTRY.register()
class TipAdapterF(CachedClassifier):
    """Tip-Adapter-F (arXiv 2111.03930, section 3.3): the cache's keys are fine-tuned with AdamW and a cosine, CE.

    β is 1 while training; the keys are trained for OPTIM.MAX_EPOCH epochs with each α of ALPHAS in turn: [1.0], or
    [0.0, …, 9.0] as the officially published Biomed-DPT code comes to do. α and β are searched afterwards. Settings
    beside TipAdapter's: ALPHAS.
    """

    learns = "cache keys, from the training features"
    numbers = 33_026
    source = "arXiv 2111.03930"
    checked = "official code: 200 steps, chosen values"
    learnable = True
    schedule_per_step = True
    defaults = {**CachedClassifier.defaults, "ALPHAS": [1.0]}

    def build_prompts(self) -> nn.Module:
        self.max_epoch = self.cfg.OPTIM.MAX_EPOCH * len(self.settings.ALPHAS)
        return super().build_prompts()

    def build_optimization(self) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
        optimizer = torch.optim.AdamW(self.learner.parameters(), self.cfg.OPTIM.LR, eps=EPS)
        steps = self.cfg.OPTIM.MAX_EPOCH * self.steps_per_epoch
        return optimizer, torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: 0.5 * (1 + math.cos(math.pi * (step % steps) / steps))
        )

    def before_train(self) -> None:
        super().before_train()
        if self.start_epoch == 0:
            self.fill()

    def before_epoch(self) -> None:
        super().before_epoch()
        turn, epoch = divmod(self.epoch, self.cfg.OPTIM.MAX_EPOCH)
        self.learner.alpha.fill_(self.settings.ALPHAS[turn])
        if epoch == 0:
            self.optim.state.clear()

    def loss(self, batch: dict) -> tuple[Tensor, dict[str, Tensor]]:
        logits = self.logits(self.image_features(batch))
        return logits, {"ce": F.cross_entropy(logits, batch["label"])}

    def after_train(self) -> None:
        self.search()
        self.save_model(self.max_epoch - 1, self.output_dir)
        super().after_train()
