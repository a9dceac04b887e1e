"""Tip-Adapter whose keys are trained."""

import math

import torch
from yacs.config import CfgNode

from trainers.fewshot import FewShotFeatures
from trainers.method import Optimization
from trainers.registry import register_method
from trainers.settings import setting
from trainers.tipadapter import TipAdapter

EPS = 1e-4  # of AdamW, as published


@register_method
class TipAdapterF(TipAdapter):
    """Tip-Adapter-F (arXiv 2111.03930, section 3.3): the keys of the cache are fine-tuned with AdamW and a cosine, CE.

    β is 1 while training. The keys are trained with each α of ALPHAS in turn (the official Biomed-DPT code trains them,
    in effect, with 0, …, 9). α and β are chosen afterwards.
    """

    learns = "cache keys, from the training features"
    verified_against = "official code: 200 steps, chosen values"
    closed_form = False
    schedule_per_step = True
    trains_keys = True
    reads = ("OPTIM.LR",)

    class Config(TipAdapter.Config):
        ALPHAS: list[float] = setting([1.0], "MAX_EPOCH epochs are trained with each alpha", at_least=0, not_empty=True)

    @property
    def epochs(self) -> int:
        return self.setup.epochs * len(self.config.ALPHAS)

    def build_optimization(self, optim: CfgNode) -> Optimization:
        optimizer = torch.optim.AdamW(self.parameters(), optim.LR, eps=EPS)
        steps = self.setup.epochs * self.setup.steps_per_epoch
        return optimizer, torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: 0.5 * (1 + math.cos(math.pi * (step % steps) / steps))
        )

    def before_training(self, data: FewShotFeatures) -> None:
        self.fill(data)

    def before_epoch(self, epoch: int, optimizer: torch.optim.Optimizer) -> None:
        turn, epoch_of_turn = divmod(epoch, self.setup.epochs)
        self.cache.alpha.fill_(self.config.ALPHAS[turn])
        if epoch_of_turn == 0:
            optimizer.state.clear()

    def after_training(self, data: FewShotFeatures) -> bool:
        self.search(data)
        return True
