"""A cache of the training images beside the zero-shot classifier."""

from collections.abc import Iterable
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainers.fewshot import FewShotConfig, FewShotFeatures, accuracy
from trainers.frozen_text import FrozenText
from trainers.registry import register_method
from trainers.settings import setting


class Cache(nn.Module):
    """Keys (N, D), one-hot values (N, C), and the scalars alpha and beta (Tip-Adapter, eq. 4 and 5)."""

    keys: Tensor
    values: Tensor
    alpha: Tensor
    beta: Tensor

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


@register_method
class TipAdapter(FrozenText):
    """Tip-Adapter (Zhang et al., arXiv 2111.03930, eq. 3 to 5): a cache of the training images, nothing is trained.

    Logits: zero-shot logits + α exp(−β (1 − F Kᵀ)) V. K: features of the training images; V: their labels, one-hot; α
    and β are chosen on the validation shots.
    """

    learns = "cache of the training features"
    trainable_parameters = 33_026
    source = "arXiv 2111.03930"
    verified_against = "official code: chosen values, logits"
    class_specific = True
    closed_form = True
    trains_keys: ClassVar[bool] = False

    class Config(FewShotConfig, FrozenText.Config):
        SEARCH_STEPS: int = setting(200, "values of alpha and of beta that are tried", at_least=1, at_most=10_000)
        SEARCH_SCALE: float = setting(50.0, "upper end of the values that are tried", above=0.1, at_most=1e6)

    def build(self) -> None:
        self.cache = self.empty_cache(self.setup.labels.cpu())

    def empty_cache(self, labels: Tensor) -> Cache:
        """A cache for training images with some labels (N,), before it is filled."""
        return Cache(labels, len(self.classnames), self.backbone.embed_dim, self.trains_keys)

    def expect(self, shapes: dict[str, tuple[int, ...]]) -> None:
        keys = shapes.get("cache.keys", ())
        if len(self.setup.labels) == 0 and len(keys) == 2 and keys[1] == self.backbone.embed_dim:
            labels = torch.zeros(keys[0], dtype=torch.long)
            self.cache = self.empty_cache(labels).to(self.cache.keys.device)

    def logits(self, images: Tensor) -> Tensor:
        return super().logits(images) + self.cache(images)

    def fit(self, data: FewShotFeatures) -> Iterable[float]:
        self.fill(data)
        self.search(data)
        return ()

    @torch.no_grad()
    def fill(self, data: FewShotFeatures) -> None:
        """Copy the features of the training images into the cache."""
        self.cache.keys.copy_(data.training(self.config.AUGMENT_EPOCHS)[0])

    @torch.no_grad()
    def search(self, data: FewShotFeatures) -> None:
        """Choose α and β on the validation shots: the best of a grid over [0.1, SEARCH_SCALE).

        Of equally good pairs the first is taken; α varies faster.
        """
        features, labels = data.validation()
        zero_shot, cache = super().logits(features), self.cache
        affinity = features @ cache.keys.T
        steps = torch.arange(self.config.SEARCH_STEPS, dtype=torch.float64, device=features.device)
        grid = steps * (self.config.SEARCH_SCALE - 0.1) / self.config.SEARCH_STEPS + 0.1
        best, chosen = -1.0, (1.0, 1.0)
        for beta in grid.tolist():
            cached = torch.exp(-beta * (1 - affinity)) @ cache.values
            correct = accuracy(zero_shot + grid[:, None, None].float() * cached, labels)
            if correct.max() > best:
                best, chosen = correct.max().item(), (grid[correct.argmax()].item(), beta)
        cache.alpha.fill_(chosen[0])
        cache.beta.fill_(chosen[1])
        print(f"alpha {chosen[0]:.4f}, beta {chosen[1]:.4f}: {100 * best:.2f} % of the validation shots")
