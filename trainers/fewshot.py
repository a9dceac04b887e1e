"""Frozen features of a run's training images and validation shots, for methods that work on features alone."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from clip import VisualPrompt
from dassl.data import DatasetWrapper
from dassl.data.datasets import Datum
from dassl.errors import InputError
from trainers.features import Encoder
from trainers.settings import Settings, setting


class FewShotConfig(Settings):
    """The setting of methods that learn from these features."""

    AUGMENT_EPOCHS: int = setting(1, "augmented views of a training image that are averaged", at_least=1)


class FewShotFeatures:
    """Features of the training images and of the validation shots.

    Args:
        encoder: computes and caches them.
        prompt: the visual prompt of the image tower, if any.
        images: the training images with their augmentation.
        validation: the validation shots; empty where there are none.
    """

    def __init__(
        self, encoder: Encoder, prompt: VisualPrompt | None, images: DatasetWrapper, validation: Sequence[Datum]
    ):
        self._encoder, self._prompt, self._images, self._validation = encoder, prompt, images, validation

    def training(self, views: int) -> tuple[Tensor, Tensor]:
        """Normalised features (N, D), the mean over `views` augmented views of each image, and labels (N,)."""
        features = self._encoder.views(self._images, self._prompt, range(views)).mean(0)
        labels = torch.tensor([item.label for item in self._images.data_source], device=features.device)
        return F.normalize(features, dim=-1), labels

    def require(self, validation: bool) -> None:
        """Raise an InputError if there are no training images or, where they are needed, no validation images."""
        if validation:
            self.validation_images()
        if not self._images.data_source:
            raise InputError(
                "the data set has no training images: test a trained model with --eval-only and --model-dir, or put "
                "images into the training part of the split"
            )

    def validation_images(self) -> Sequence[Datum]:
        """The validation shots; an InputError if there are none."""
        if not self._validation:
            raise InputError(
                "the data set has no validation images, which this method, TEST.SPLIT val or TEST.FINAL_MODEL best_val "
                "needs: put images into the validation part of the split, or set `validation` of FewShotClassifier"
            )
        return self._validation

    def validation(self) -> tuple[Tensor, Tensor]:
        """Normalised features (M, D) of the validation shots without augmentation, and labels (M,)."""
        return self._encoder.images(self.validation_images(), self._prompt, "validation images")


def accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    """The share of rows (…, N, C) whose highest logit is at the label (N,): (…)."""
    return (logits.argmax(-1) == labels).double().mean(-1)
