"""Running averages of the values that training prints."""

from collections import defaultdict

import torch

__all__ = ["AverageMeter", "MetricMeter", "read_values"]


class AverageMeter:
    """The latest value and the mean of all values, or with `ema` their exponential moving average (weight 0.9).

    Tensors are read only when a result is requested, so that `update` never waits for the GPU.
    """

    def __init__(self, ema: bool = False):
        self.ema = ema
        self.reset()

    def reset(self) -> None:
        self._val = self._avg = self._sum = 0.0
        self._count = 0
        self._pending: list[tuple[float | torch.Tensor, int]] = []

    def update(self, val: float | torch.Tensor, n: int = 1) -> None:
        self._pending.append((val.detach() if isinstance(val, torch.Tensor) else val, n))

    val = property(lambda self: self._with_pending()._val)
    avg = property(lambda self: self._with_pending()._avg)
    sum = property(lambda self: self._with_pending()._sum)
    count = property(lambda self: self._with_pending()._count)

    def _with_pending(self) -> "AverageMeter":
        """Add the pending values to the averages."""
        pending, self._pending = self._pending, []
        for value, (_, n) in zip(read_values([value for value, _ in pending]), pending, strict=True):
            self._val = value
            self._sum += value * n
            self._count += n
            moving = self.ema and self._count > n
            self._avg = self._avg * 0.9 + value * 0.1 if moving else self._sum / self._count
        return self


def read_values(values: list[float | torch.Tensor]) -> list[float]:
    """Convert numbers and scalar tensors to floats. Tensors are copied from their device in one transfer."""
    if values and all(isinstance(value, torch.Tensor) for value in values):
        return torch.stack([value.reshape(()) for value in values]).tolist()
    return [float(value) for value in values]


class MetricMeter:
    """AverageMeters by name, printed as "name latest (average)"."""

    def __init__(self, delimiter: str = " "):
        self.meters: dict[str, AverageMeter] = defaultdict(AverageMeter)
        self.delimiter = delimiter

    def update(self, input_dict: dict[str, float | torch.Tensor] | None) -> None:
        for name, value in (input_dict or {}).items():
            self.meters[name].update(value)

    def __str__(self) -> str:
        return self.delimiter.join(f"{name} {m.val:.4f} ({m.avg:.4f})" for name, m in self.meters.items())
