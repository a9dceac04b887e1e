"""Frozen text features of the sentences that describe each class."""

import torch
from torch import Tensor
from torch.nn import functional as F

from trainers.features import Encoder


@torch.no_grad()
def sentence_features(encoder: Encoder, sentences: list[list[str]]) -> Tensor:
    """Normalised features (C, N, D) of N sentences for each of C classes."""
    flat = [sentence for of_class in sentences for sentence in of_class]
    return encoder.sentences(flat).unflatten(0, (len(sentences), -1))


def mean_feature(features: Tensor) -> Tensor:
    """T* (C, D): the normalised mean of each class's sentence features (C, N, D)."""
    return F.normalize(features.mean(1), dim=-1)
