"""A cache of the few training images beside the zero-shot classifier."""

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dassl.engine import TRAINER_REGISTRY
from trainers.feature_space import FeatureMethod, FittedMethod, accuracy


class Cache(nn.Module):
    """Keys (N, D), values (N, C) one-hot, and the two numbers alpha and beta (Tip-Adapter, eq. 4 and 5)."""

    def __init__(self, labels: Tensor, classes: int, width: int, learnable: bool):
        super().__init__()
        keys = torch.zeros(len(labels), width)
        if learnable:
            self.keys = nn.Parameter(keys)
        else:
            self.register_buffer("keys", keys)
        self.register_buffer("values", F.one_hot(labels, classes).float().cpu())
        self.register_buffer("alpha", torch.ones(()))
        self.register_buffer("beta", torch.ones(()))

    def forward(self, features: Tensor) -> Tensor:
        """α exp(−β (1 − F Kᵀ)) V: logits (…, C) of features (…, D)."""
        return self.alpha * torch.exp(-self.beta * (1 - features @ self.keys.T)) @ self.values


class CachedClassifier(FeatureMethod):
    """Zero-shot logits + α exp(−β (1 − F Kᵀ)) V: what both Tip-Adapters share."""

    learnable: ClassVar[bool]
    defaults = {**FeatureMethod.defaults, "SEARCH_STEPS": 200, "SEARCH_SCALE": 50.0}

    def build_prompts(self) -> nn.Module:
        labels = torch.tensor([item.label for item in self.train_loader_x.dataset.data_source])
        return Cache(labels, len(self.classnames), self.backbone.embed_dim, self.learnable)

    def logits(self, features: Tensor) -> Tensor:
        return super().logits(features) + self.learner(features)

    @torch.no_grad()
    def fill(self) -> None:
        """Put the training images' features into the cache."""
        self.learner.keys.copy_(self.training_features()[0])

    @torch.no_grad()
    def search(self) -> None:
        """Choose α and β on the validation shots: the best of a grid over [0.1, SEARCH_SCALE).

        Of equally good ones the first, α running faster.
        """
        features, labels = self.validation_features()
        zero_shot, cache = super().logits(features), self.learner
        affinity = features @ cache.keys.T
        steps = torch.arange(self.settings.SEARCH_STEPS, dtype=torch.float64, device=self.device)
        grid = steps * (self.settings.SEARCH_SCALE - 0.1) / self.settings.SEARCH_STEPS + 0.1
        best, chosen = -1.0, (1.0, 1.0)
        for beta in grid.tolist():
            cached = torch.exp(-beta * (1 - affinity)) @ cache.values
            correct = accuracy(zero_shot + grid[:, None, None].float() * cached, labels)
            if correct.max() > best:
                best, chosen = correct.max().item(), (grid[correct.argmax()].item(), beta)
        cache.alpha.fill_(chosen[0])
        cache.beta.fill_(chosen[1])
        print(f"alpha {chosen[0]:.4f}, beta {chosen[1]:.4f}: {100 * best:.2f} % of the validation shots")


@TRAINER_REGISTRY.register()
class TipAdapter(FittedMethod, CachedClassifier):
    """Tip-Adapter (Zhang et al., arXiv 2111.03930, eq. 3 to 5): a cache of the training images, nothing trained.

    K: features of the training images; V: their labels, one-hot; α and β searched on the validation shots. Settings
    beside FeatureMethod's: SEARCH_STEPS and SEARCH_SCALE of the grid for α and β.
    """

    learns = "cache of the training features"
    numbers = 33_026
    source = "arXiv 2111.03930"
    checked = "official code: chosen values, logits"
    learnable = False
    defaults = CachedClassifier.defaults

    def fit(self) -> None:
        self.fill()
        self.search()
