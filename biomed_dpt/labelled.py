"""Labelled images of the user's own: a CSV file that lists them, and their logits by a bundle."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from dassl.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from trainers.bundle import Bundle
    from trainers.predictor import Predictor


class Labelled(NamedTuple):
    """Images with labels.

    Attributes:
        paths: of the N files.
        labels: the place of each class in the class names.
        digests: of the content of each file.
    """

    paths: list[str]
    labels: list[int]
    digests: list[str]

    def chosen(self, places: Sequence[int]) -> "Labelled":
        """Some of the images."""
        paths, labels, digests = self
        return Labelled([paths[k] for k in places], [labels[k] for k in places], [digests[k] for k in places])


def read_labelled(path: str | Path, bundle: "Bundle") -> Labelled:
    """Read a CSV file with the columns path (relative to the file's folder) and label (the name of a class).

    Further columns are not read. The rules of docs/DATASETS.md for images.csv hold.

    Raises:
        InputError: the file or an image cannot be read, a label is no class of the bundle, or images are training
            images of the bundle.
    """
    from datasets.digests import content_digests
    from datasets.manifest import read_manifest

    path = Path(path)
    entries = read_manifest(path).entries(bundle.classnames)
    paths = [str(path.parent / name) for name, _, _ in entries]
    digest_of = content_digests(paths)
    found = Labelled(paths, [label for _, label, _ in entries], [digest_of[name] for name in paths])
    refuse_images(found, bundle.about["provenance"].get("training_images", ()), "training images of the bundle")
    return found


def refuse_images(images: Labelled, digests: Sequence[str], what: str) -> None:
    """Refuse images whose content is that of others.

    Raises:
        InputError: with the names of the first ones.
    """
    from datasets.split_check import some

    known = set(digests)
    if same := [path for path, digest in zip(images.paths, images.digests, strict=True) if digest in known]:
        raise InputError(
            f"{len(same):,} of {len(images.paths):,} images are {what}: {some(same)}; a calibration needs images that "
            "the model has not seen: remove these from the list"
        )


def logits_of(predictor: "Predictor", images: Labelled) -> tuple["Tensor", "Tensor"]:
    """Logits (N, C) of images by a bundle, before the temperature, and labels (N,), both on the CPU.

    Raises:
        InputError: an image cannot be read.
    """
    import torch
    from tqdm import tqdm

    found, size = [], predictor.batch_size
    for first in tqdm(range(0, len(images.paths), size), desc="encoding images", unit="batch", delay=2):
        pictures = [predictor.reader(path) for path in images.paths[first : first + size]]
        found.append(predictor.logits(predictor.features(predictor.pixels(pictures))).cpu())
    return torch.cat(found), torch.tensor(images.labels)
