"""How much an exported model differs from PyTorch."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dassl.errors import InputError

if TYPE_CHECKING:
    from biomed_dpt.export.formats import Run
    from trainers.predictor import Predictor

BATCHES = (1, 3)  # images
SEED = 0


@dataclass(frozen=True)
class Difference:
    """The largest differences between an exported model and PyTorch on random pixels.

    Attributes:
        logits: of the logits.
        largest_logit: the largest absolute value of a logit, by PyTorch.
        probabilities: of the probabilities, from those that PyTorch computes.
        softmax: of the probabilities, from the softmax of the exported model's own logits. A small temperature
            enlarges the rounding of logits, and this difference does not depend on that.
    """

    logits: float
    largest_logit: float
    probabilities: float
    softmax: float

    @property
    def largest(self) -> float:
        """What the tolerance is for: the larger one of `softmax` and `logits` / max(1, `largest_logit`)."""
        return max(self.logits / max(1.0, self.largest_logit), self.softmax)

    def __str__(self) -> str:
        images = " and ".join(map(str, BATCHES))
        return (
            f"largest difference from PyTorch, on random pixels in batches of {images}: logits {self.logits:.2g} (the "
            f"largest logit is {self.largest_logit:.4g}), probabilities {self.probabilities:.2g}"
        )


def largest_difference(run: "Run", predictor: "Predictor") -> Difference:
    """Compare an exported model with the predictor that it was made from, on random normalised pixels.

    Raises:
        InputError: its outputs have other shapes, or hold numbers that are not finite.
    """
    import torch

    random = torch.Generator().manual_seed(SEED)
    height, width = predictor.bundle.about["preprocessing"]["SIZE"]
    rows = []
    for images in BATCHES:
        pixels = torch.randn(images, 3, height, width, generator=random)
        logits, probabilities = run(pixels)
        expected = predictor.logits(predictor.features(pixels))
        for name, value in (("logits", logits), ("probabilities", probabilities)):
            if value.shape != expected.shape or not value.isfinite().all():
                raise InputError(f"the exported model gives {name} of another shape, or numbers that are not finite")
        rows.append(
            (
                (logits - expected).abs().max().item(),
                expected.abs().max().item(),
                (probabilities - predictor.probabilities(expected)).abs().max().item(),
                (probabilities - predictor.probabilities(logits)).abs().max().item(),
            )
        )
    return Difference(*(max(column) for column in zip(*rows, strict=True)))
