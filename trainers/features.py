"""Image features of a frozen tower, encoded in large batches outside the training step."""

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from clip import Backbone, VisualPrompt
from dassl.data import DatasetWrapper
from dassl.data.data_manager import usable_workers

ENCODE_BATCH = 128
VIEWS_AHEAD = 512


@torch.no_grad()
def encode_images(
    backbone: Backbone, images: Dataset, prompt: VisualPrompt | None, workers: int = 0, describe: str = "images"
) -> tuple[Tensor, Tensor]:
    """Normalised features (N, D) fp32 and labels (N,) of a data set, in its order, on the backbone's device."""
    loader = DataLoader(images, batch_size=ENCODE_BATCH, num_workers=workers)
    features, labels = [], []
    for batch in tqdm(loader, desc=f"encoding {describe}", unit="batch", delay=2, mininterval=2):
        pixels = batch["img"].to(backbone.device)
        features.append(F.normalize(backbone.encode_image(pixels, prompt).float(), dim=-1))
        labels.append(batch["label"])
    return torch.cat(features), torch.cat(labels).to(backbone.device)


class FeatureStream:
    """Features of the training views of every epoch, encoded some epochs ahead.

    The blocks of epochs lie on a fixed grid, so that a resumed run encodes the very batches of an undisturbed one.
    """

    def __init__(self, backbone: Backbone, prompt: VisualPrompt | None, images: DatasetWrapper, max_epoch: int):
        self.backbone, self.prompt, self.images = backbone, prompt, images
        self.max_epoch = max_epoch
        self.span = max(1, VIEWS_AHEAD // len(images))
        self.labels = torch.tensor([item.label for item in images.data_source], device=backbone.device)
        self._block, self._features = -1, None

    def epoch(self, epoch: int) -> Tensor:
        """Features (N, D) of all training images as seen in one epoch."""
        block = epoch // self.span
        if block != self._block:
            first = block * self.span
            views = _Views(self.images, range(first, min(first + self.span, self.max_epoch)))
            workers = usable_workers(self.images.cfg)
            features, _ = encode_images(self.backbone, views, self.prompt, workers, "training views")
            self._block, self._features = block, features.view(-1, len(self.images), features.shape[-1])
        return self._features[epoch - block * self.span]


class _Views(Dataset):
    """All images in each of several epochs, one epoch after the other."""

    def __init__(self, images: DatasetWrapper, epochs: range):
        self.images, self.epochs = images, epochs

    def __len__(self) -> int:
        return len(self.epochs) * len(self.images)

    def __getitem__(self, index: int) -> dict:
        epoch, image = divmod(index, len(self.images))
        return self.images.load(image, self.epochs[epoch])
