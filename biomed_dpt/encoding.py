"""Features of a frozen backbone, as arrays."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from biomed_dpt.inputs import images_of
from biomed_dpt.pictures import picture_of
from dassl.errors import InputError, shown
from datasets.images import ImageReader

if TYPE_CHECKING:
    from torch import Tensor

    from clip import Backbone

SENTENCES = 256  # texts between two steps of the progress bar


class BackboneFeatures:
    """A frozen backbone that encodes images and texts into one space.

    Args:
        name: the registered name of the backbone.
        load: gives the backbone, the reader of images and their transform to pixels (3, H, W), at first use.
        verbose: 0 shows no progress.
    """

    def __init__(self, name: str, load: Callable[[], tuple["Backbone", ImageReader, Any]], verbose: int = 1):
        self.name, self._load, self._verbose = name, load, verbose

    def __repr__(self) -> str:
        return f"BackboneFeatures('{self.name}')"

    def encode_images(self, X: Any) -> np.ndarray:
        """Normalised features (N, D), float32, of images: paths, PIL images, arrays, tensors or a torch data set.

        Raises:
            InputError: there are no images, or one cannot be read.
        """
        import torch
        from torch.nn import functional as F

        from trainers.features import ENCODE_BATCH

        backbone, reader, transform = self._load()

        @torch.no_grad()
        def encode(pixels: "Tensor") -> "Tensor":
            return F.normalize(backbone.encode_image(pixels.to(backbone.device)).float(), dim=-1)

        size = ENCODE_BATCH.get(backbone.device.type, 64)
        return encode_in_batches(images_of(X), reader, transform, encode, size, self._verbose).cpu().numpy()

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Normalised features (N, D), float32, of N texts.

        Raises:
            InputError: no list of texts.
        """
        import torch
        from torch.nn import functional as F

        texts = list(texts) if not isinstance(texts, str) else []
        if not texts or not all(isinstance(text, str) for text in texts):
            raise InputError(f"texts is {shown(texts)}; it must be a list of texts")
        backbone = self._load()[0]
        starts = tqdm(
            range(0, len(texts), SENTENCES), "encoding texts", unit="batch", delay=2, disable=not self._verbose
        )
        parts = [backbone.encode_sentences(texts[start : start + SENTENCES]) for start in starts]
        return F.normalize(torch.cat(parts), dim=-1).cpu().numpy()


def encode_in_batches(
    images: Sequence[Any],
    reader: ImageReader,
    transform: Callable[..., "Tensor"],
    encode: Callable[["Tensor"], "Tensor"],
    size: int,
    verbose: int,
) -> "Tensor":
    """What `encode` makes (N, …) of the pixels (B, 3, H, W) of images; `size` of them are decoded at a time.

    Raises:
        InputError: an image cannot be read.
    """
    import torch

    parts = []
    starts = tqdm(range(0, len(images), size), "encoding images", unit="batch", delay=2, disable=not verbose)
    for start in starts:
        places = range(start, min(start + size, len(images)))
        pictures = [picture_of(images[place], reader, f"X[{place}]") for place in places]
        parts.append(encode(torch.stack([transform(picture) for picture in pictures])))
    return torch.cat(parts)
