"""What methods on frozen image features alone share: the features of the few images there are."""

import time
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from dassl.errors import InputError
from trainers.zeroshot import ZeroShot


class FeatureMethod(ZeroShot):
    """A classifier on frozen image features; its choices are made on the validation shots alone.

    Settings beside ZeroShot's: AUGMENT_EPOCHS, how many augmented views of a training image are averaged.
    """

    class_specific = True
    defaults = {**ZeroShot.defaults, "AUGMENT_EPOCHS": 1}

    def training_features(self) -> tuple[Tensor, Tensor]:
        """Normalised features (N, D) of the training images, mean over their views, and labels (N,)."""
        images = self.train_loader_x.dataset
        views = self.encoder.views(images, self.visual_prompt, range(self.settings.AUGMENT_EPOCHS))
        labels = torch.tensor([item.label for item in images.data_source], device=self.device)
        return F.normalize(views.mean(0), dim=-1), labels

    def validation_features(self) -> tuple[Tensor, Tensor]:
        """Normalised features (M, D) of the validation shots as they are, and labels (M,)."""
        if not self.dm.dataset.val:
            raise InputError(f"{type(self).__name__} chooses on validation images, and the data set has none")
        return self.encoder.images(self.dm.dataset.val, self.visual_prompt, "validation images")


class FittedMethod(FeatureMethod):
    """A classifier that `fit` makes in one piece."""

    def fit(self) -> None:
        """Learn; records its losses, if it has any, in `history`."""
        raise NotImplementedError

    def walk(self) -> Iterator[dict]:
        """No batches: everything is learned at once, in little time; an interrupted run starts anew."""
        self.training_started = time.time()
        self.before_train()
        self.fit()
        self.save_model(self.max_epoch - 1, self.output_dir)
        self.after_train()
        yield from ()


def accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    """The share of rows (…, N, C) whose highest logit is at the label (N,): (…)."""
    return (logits.argmax(-1) == labels).double().mean(-1)
