"""Running averages of what is printed while training."""

from collections import defaultdict

import torch

__all__ = ["AverageMeter", "MetricMeter", "read_values"]


class AverageMeter:
    """The latest value and the mean of all values; with `ema`, a moving average of weight 0.9 instead.

    Tensors are taken as they are and read when a number is asked for: updating never waits for a GPU.
    """

    def __init__(self, ema: bool = False):
        self.ema = ema
        self.reset()

    def reset(self) -> None:
        self._val = self._avg = self._sum = self._count = 0
        self._pending: list[tuple[float | torch.Tensor, int]] = []

    def update(self, val: float | torch.Tensor, n: int = 1) -> None:
        self._pending.append((val.detach() if isinstance(val, torch.Tensor) else val, n))

    val = property(lambda self: self._settled()._val)
    avg = property(lambda self: self._settled()._avg)
    sum = property(lambda self: self._settled()._sum)
    count = property(lambda self: self._settled()._count)

    def _settled(self) -> "AverageMeter":
        pending, self._pending = self._pending, []
        for value, (_, n) in zip(read_values([value for value, _ in pending]), pending, strict=True):
            self._val = value
            self._sum += value * n
            self._count += n
            moving = self.ema and self._count > n
            self._avg = self._avg * 0.9 + value * 0.1 if moving else self._sum / self._count
        return self


def read_values(values: list[float | torch.Tensor]) -> list[float]:
    """Numbers and scalar tensors as numbers; tensors are fetched together."""
    if values and all(isinstance(value, torch.Tensor) for value in values):
        return torch.stack([value.reshape(()) for value in values]).tolist()
    return [float(value) for value in values]


class MetricMeter:
    """A set of AverageMeters by name, printed as "name latest (average)"."""

    def __init__(self, delimiter: str = " "):
        self.meters: dict[str, AverageMeter] = defaultdict(AverageMeter)
        self.delimiter = delimiter

    def update(self, input_dict: dict[str, float | torch.Tensor] | None) -> None:
        for name, value in (input_dict or {}).items():
            self.meters[name].update(value)

    def __str__(self) -> str:
        return self.delimiter.join(f"{name} {m.val:.4f} ({m.avg:.4f})" for name, m in self.meters.items())
