"""What an explainer finds in one image."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Evidence:
    """The result of an explainer, on the grid of the image tower.

    Attributes:
        grid: (rows, columns), fp32, not negative: how much the score rests on each cell of the cropped image.
        seen: (rows, columns), bool: False for cells that the tower does not read; the grid is 0 there.
        logits: (C,), before the temperature.
        label: the class whose score is explained.
    """

    grid: Tensor
    seen: Tensor
    logits: Tensor
    label: int


def explained_label(logits: Tensor, label: int | None) -> int:
    """The class to explain: the given one, or that with the largest of the logits (C,)."""
    return int(logits.argmax()) if label is None else label
