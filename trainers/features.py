"""Features of a frozen backbone, encoded in large batches before the training steps and cached on disk."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import PIL
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm
from yacs.config import CfgNode

from clip import Backbone, VisualPrompt
from dassl.data import DatasetWrapper
from dassl.data.data_manager import stream_name, usable_workers
from dassl.data.datasets import Datum, build_image_reader
from dassl.data.samplers import epoch_order
from dassl.errors import InputError
from datasets.digests import digests_of_groups, file_status
from trainers.precision import Precision
from trainers.store import Tensors, open_store

# A CPU is fastest on batches that stay in its caches, a GPU on batches that fill it.
ENCODE_BATCH = {"cpu": 8, "cuda": 256}
EPOCHS_AHEAD = {"cpu": 16, "cuda": 128}
FORMAT = 1  # increase it when a change of the code changes the features of the same inputs


class Encoder:
    """Encodes sentences and images with a frozen backbone; all methods, seeds, shots and processes share the cache.

    Args:
        backbone: on its device.
        cfg: the configuration; INPUT (with the size and normalisation of the backbone), FEATURE_PREC and
            DATALOADER.NUM_WORKERS are read.
    """

    def __init__(self, backbone: Backbone, cfg: CfgNode):
        self.backbone, self.cfg = backbone, cfg
        self.precision = Precision(cfg.FEATURE_PREC, backbone.device, setting="FEATURE_PREC")
        self.store = open_store()
        self.batch_size = ENCODE_BATCH.get(backbone.device.type, 64)

    def sentences(self, texts: list[str]) -> Tensor:
        """Normalised features (N, D), fp32, of plain texts, on the device of the backbone."""
        key = {**self._about(), "padded": self.backbone.pad_text, "texts": texts}
        kept = self.store.get("text", key, lambda: {"features": self.backbone.encode_sentences(texts)})
        return F.normalize(kept["features"].to(self.backbone.device), dim=-1)

    def images(
        self, items: Sequence[Datum], prompt: VisualPrompt | None, describe: str, keep: bool = True
    ) -> tuple[Tensor, Tensor]:
        """Normalised features (N, D), fp32, and labels (N,) of images under the test transform.

        Args:
            items: the images.
            prompt: the visual prompt.
            describe: what the images are, for the progress bar.
            keep: cache the features; off if the image tower has trained values, which only one run uses.
        """
        from dassl.data.transforms import build_transform  # torchvision takes seconds to load

        wrapper = DatasetWrapper(self.cfg, items, build_transform(self.cfg, is_train=False))
        workers = min(usable_workers(self.cfg), 1 + len(items) // 100)

        def encode(_: object) -> Iterator[Tensors]:
            yield {"features": torch.cat(list(self._encode(wrapper, prompt, self.batch_size, workers, describe)))}

        (found,) = self.kept("images", [{}], [items], prompt, encode) if keep else encode(None)
        features = found["features"]
        labels = torch.tensor([item.label for item in items], device=self.backbone.device)
        return features, labels

    def views(self, images: DatasetWrapper, prompt: VisualPrompt | None, epochs: range) -> Tensor:
        """Normalised features (E, N, D), fp32, of the augmented views of all training images in each of E epochs.

        The views of one image in these epochs are one batch and one cache entry. So the features of an image do not
        depend on the other images of the run, and runs share the entries of the images they have in common.
        """

        def encode(missing: list[int]) -> Iterator[Tensors]:
            images.decode_all()
            views = _Views(images, missing, epochs)
            encoded = self._encode(views, prompt, len(epochs), usable_workers(self.cfg), "training views")
            return ({"features": features} for features in encoded)

        items = images.data_source
        about = {"seed": images.seed, "epochs": [epochs.start, epochs.stop]}
        keys = [{**about, "stream": stream_name(item.impath)} for item in items]
        kept = self.kept("views", keys, [[item] for item in items], prompt, encode)
        return torch.stack([entry["features"] for entry in kept], dim=1)

    def _about(self) -> dict:
        device = self.backbone.device
        return {
            "format": FORMAT,
            "backbone": self.backbone.name,
            "weights": self.backbone.digest,
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
            "torch": torch.__version__,
        }

    def kept(
        self,
        kind: str,
        keys: list[dict],
        files: list[Sequence[Datum]],
        prompt: VisualPrompt | None,
        encode: Callable[[list[int]], Iterable[Tensors]],
    ) -> list[Tensors]:
        """Tensors of images from the cache, on the device, which depend on the backbone and the test transform.

        Args:
            kind: what they are; the sub-folder of the cache.
            keys: for each entry, what it depends on beside its files and the prompt, as JSON values.
            files: the images that each entry is made of.
            prompt: the visual prompt.
            encode: computes the missing entries, in the order of the given indices.

        Raises:
            InputError: image files changed while they were encoded.
        """
        import torchvision  # takes seconds to load, and checking settings does not need it

        about = {
            **self._about(),
            "prompt": prompt and prompt.key(),
            "precision": self.precision.name,
            "transform": self.cfg.INPUT.dump(),
            "reading": repr(build_image_reader(self.cfg)),
            "libraries": [torchvision.__version__, PIL.__version__],
        }
        paths = [[item.impath for item in items] for items in files]
        before = [[file_status(path) for path in group] for group in paths]
        keys = [{**about, **key, "files": digest} for key, digest in zip(keys, digests_of_groups(paths), strict=True)]

        def compute(missing: list[int]) -> Iterator[Tensors]:
            for place, tensors in zip(missing, encode(missing), strict=True):
                if [file_status(path) for path in paths[place]] != before[place]:
                    raise InputError(
                        "image files changed while they were encoded; start the run again when nothing writes to them"
                    )
                yield tensors

        kept = self.store.get_many(kind, keys, compute)
        return [{name: value.to(self.backbone.device) for name, value in entry.items()} for entry in kept]

    @torch.no_grad()
    def _encode(
        self, images: Dataset, prompt: VisualPrompt | None, batch_size: int, workers: int, describe: str
    ) -> Iterator[Tensor]:
        """Normalised features of one batch after another."""
        device = self.backbone.device
        loader = DataLoader(images, batch_size, num_workers=workers, pin_memory=device.type == "cuda")
        for batch in tqdm(loader, desc=f"encoding {describe}", unit="batch", delay=2, mininterval=2):
            with self.precision.autocast():
                parts = batch["img"].to(device, non_blocking=True).split(self.batch_size)
                encoded = torch.cat([self.backbone.encode_image(part, prompt) for part in parts])
            yield F.normalize(encoded.float(), dim=-1)


class FeatureStream:
    """Features of the training views of every epoch, encoded in blocks of epochs.

    The blocks start at fixed epochs. So a resumed run, or a run with other shots, encodes the same batches, and methods
    with different numbers of epochs share cache entries.
    """

    def __init__(self, encoder: Encoder, prompt: VisualPrompt | None, images: DatasetWrapper, max_epoch: int):
        self.encoder, self.prompt, self.images = encoder, prompt, images
        self.epochs = min(max_epoch, images.reused_views or max_epoch)
        device = encoder.backbone.device
        self.span = EPOCHS_AHEAD.get(device.type, 16)
        self.labels = torch.tensor([item.label for item in images.data_source], device=device)
        self._block, self._features = -1, torch.empty(0)

    def epoch(self, epoch: int) -> Tensor:
        """Features (N, D) of the views of all training images in one epoch."""
        epoch = self.images.view_of(epoch)
        block = epoch // self.span
        if block != self._block:
            first = block * self.span
            epochs = range(first, min(first + self.span, self.epochs))
            self._block, self._features = block, self.encoder.views(self.images, self.prompt, epochs)
        return self._features[epoch - block * self.span]

    def batches(self, epoch: int, seed: int, size: int, drop_last: bool) -> list[dict[str, Tensor]]:
        """The batches of one epoch, in the order that a seed's data loader has: "features", "label" and "index"."""
        features = self.epoch(epoch)
        order = torch.tensor(epoch_order(len(features), seed, epoch), device=features.device)
        used = len(order) // size * size if drop_last else len(order)
        return [
            {"features": features[chosen], "label": self.labels[chosen], "index": chosen}
            for chosen in order[:used].split(size)
        ]


class _Views(Dataset):
    """Views of some images in each of several epochs, one image after another."""

    def __init__(self, images: DatasetWrapper, places: list[int], epochs: range):
        self.images, self.places, self.epochs = images, places, epochs

    def __len__(self) -> int:
        return len(self.epochs) * len(self.places)

    def __getitem__(self, index: int) -> dict:
        image, epoch = divmod(index, len(self.epochs))
        return {"img": self.images.load(self.places[image], self.epochs[epoch])["img"]}
