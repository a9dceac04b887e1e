"""Samplers. The order of the training images is a pure function of seed and epoch."""

from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import Sampler, SequentialSampler

from dassl.errors import unknown_name
from dassl.utils import stream_seed

__all__ = ["RandomSampler", "SequentialSampler", "build_sampler", "epoch_order"]
SAMPLERS = ("RandomSampler", "SequentialSampler")


def epoch_order(count: int, seed: int, epoch: int) -> list[int]:
    """Return the permutation of range(count) for an epoch."""
    generator = torch.Generator().manual_seed(stream_seed("order", seed, epoch))
    return torch.randperm(count, generator=generator).tolist()


class RandomSampler(Sampler[int]):
    """Samples every image once per epoch in random order. Call `set_epoch` before each epoch."""

    def __init__(self, data_source: Sequence, seed: int = 0):
        self.data_source = data_source
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        return iter(epoch_order(len(self.data_source), self.seed, self.epoch))

    def __len__(self) -> int:
        return len(self.data_source)


def build_sampler(sampler_type: str, data_source: Sequence, seed: int = 0) -> Sampler[int]:
    """Build a sampler by name; an unknown name raises InputError."""
    if sampler_type == "RandomSampler":
        return RandomSampler(data_source, seed)
    if sampler_type == "SequentialSampler":
        return SequentialSampler(data_source)
    raise unknown_name("sampler", sampler_type, SAMPLERS)
