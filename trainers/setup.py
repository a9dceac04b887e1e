"""What a method is built from."""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from clip import Backbone
from prompts import Prompts


class SentenceEncoder(Protocol):
    """What computes the text features of plain sentences, such as `trainers.features.Encoder`."""

    def sentences(self, texts: list[str]) -> Tensor:
        """Normalised features (N, D), fp32, of N texts."""
        ...


@dataclass
class Setup:
    """Everything that a method is built from, beside its settings.

    Attributes:
        backbone: the frozen model, on its device.
        encoder: cached features of sentences and images by that backbone.
        classnames: names of the C classes, in label order.
        labels: labels (N,) of the training images.
        prompts: name or path of the file with a clinical template and sentences per class, or its content; "" for none.
        shots: training images per class; -1 for all.
        epochs: passes over the training images that the configuration asks for.
        steps_per_epoch: training steps in one of them.
        for_training: the method will be trained or tested; otherwise it gets learned tensors and text features that
            were stored, and only predicts.
        template: takes the place of the template in the prompt file; "" for that one.
    """

    backbone: Backbone
    encoder: SentenceEncoder
    classnames: list[str]
    labels: Tensor
    prompts: str | Prompts = ""
    shots: int = 1
    epochs: int = 1
    steps_per_epoch: int = 1
    for_training: bool = True
    template: str = ""

    def __post_init__(self) -> None:
        if self.shots < 0:  # all images: as many as the largest class has
            self.shots = int(self.labels.bincount(minlength=1).max())
