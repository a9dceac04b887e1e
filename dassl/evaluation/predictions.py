"""What a test predicted for each image."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Predictions:
    """What a test predicted for N images of C classes.

    Attributes:
        paths: the N image files.
        classnames: the C class names, in label order.
        logits: (N, C), on the CPU.
        labels: the true classes (N,), on the CPU.
    """

    paths: Sequence[str]
    classnames: Sequence[str]
    logits: Tensor
    labels: Tensor
