"""Features of a frozen backbone: encoded once, in large batches outside the training step, and kept on disk."""

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
from dassl.data.data_manager import usable_workers
from dassl.data.datasets import Datum
from dassl.errors import InputError
from datasets.check import digest_of_files
from trainers.precision import Precision
from trainers.store import open_store

# A CPU is fastest on batches that stay in its caches, a GPU on batches that fill it.
ENCODE_BATCH = {"cpu": 8, "cuda": 256}
EPOCHS_AHEAD = {"cpu": 16, "cuda": 128}
FORMAT = 1  # raise it when the same inputs come to give other features


class Encoder:
    """A frozen backbone whose features are kept in a store, shared between methods, seeds, shots and processes.

    Args:
        backbone: on its device.
        cfg: the whole configuration; INPUT (with the backbone's size and normalisation), FEATURE_PREC and
            DATALOADER.NUM_WORKERS are read.
    """

    def __init__(self, backbone: Backbone, cfg: CfgNode):
        self.backbone, self.cfg = backbone, cfg
        self.precision = Precision(cfg.FEATURE_PREC, backbone.device, setting="FEATURE_PREC")
        self.store = open_store()
        self.batch_size = ENCODE_BATCH.get(backbone.device.type, 64)

    def sentences(self, texts: list[str]) -> Tensor:
        """Normalised features (N, D) fp32 of plain texts, on the backbone's device."""
        key = {**self._about(), "padded": self.backbone.pad_text, "texts": texts}
        kept = self.store.get("text", key, lambda: {"features": self.backbone.encode_sentences(texts)})
        return F.normalize(kept["features"].to(self.backbone.device), dim=-1)

    def images(
        self, items: Sequence[Datum], prompt: VisualPrompt | None, describe: str, keep: bool = True
    ) -> tuple[Tensor, Tensor]:
        """Normalised features (N, D) fp32 and labels (N,) of images as they are tested, on the backbone's device.

        Without `keep` they are computed anew: what a run has learned in the image tower serves that run alone.
        """
        from dassl.data.transforms import build_transform  # torchvision takes seconds to load

        wrapper = DatasetWrapper(self.cfg, items, build_transform(self.cfg, is_train=False))
        workers = min(usable_workers(self.cfg), 1 + len(items) // 100)

        def encode(_) -> Iterator[Tensor]:
            yield torch.cat(list(self._encode(wrapper, prompt, self.batch_size, workers, describe)))

        if keep:
            (features,) = self._kept("images", [{}], [items], prompt, encode)
        else:
            (features,) = encode(None)
        labels = torch.tensor([item.label for item in items], device=self.backbone.device)
        return features, labels

    def views(self, images: DatasetWrapper, prompt: VisualPrompt | None, epochs: range) -> Tensor:
        """Normalised features (E, N, D) fp32 of all training images as they are seen in each of E epochs.

        An image's views in these epochs are one entry and one batch: which other images a run has, makes no
        difference to its numbers, and runs share what they have in common.
        """

        def encode(missing: list[int]) -> Iterator[Tensor]:
            images.decode_all()
            views = _Views(images, missing, epochs)
            return self._encode(views, prompt, len(epochs), usable_workers(self.cfg), "training views")

        items = images.data_source
        keys = [{"seed": images.seed, "epochs": [epochs.start, epochs.stop]}] * len(items)
        return torch.stack(self._kept("views", keys, [[item] for item in items], prompt, encode), dim=1)

    def _about(self) -> dict:
        device = self.backbone.device
        return {
            "format": FORMAT,
            "backbone": self.backbone.name,
            "weights": self.backbone.digest,
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
            "torch": torch.__version__,
        }

    def _kept(
        self,
        kind: str,
        keys: list[dict],
        files: list[Sequence[Datum]],
        prompt: VisualPrompt | None,
        encode: Callable[[list[int]], Iterable[Tensor]],
    ) -> list[Tensor]:
        """Features from the store, on the device; each entry depends on its own files."""
        import torchvision  # takes seconds to load; who only checks settings needs none of it

        about = {
            **self._about(),
            "prompt": prompt and [prompt.tokens, prompt.depth, prompt.placement],
            "precision": self.precision.name,
            "transform": self.cfg.INPUT.dump(),
            "libraries": [torchvision.__version__, PIL.__version__],
        }
        digests = [digest_of_files(item.impath for item in items) for items in files]
        keys = [{**about, **key, "files": digest} for key, digest in zip(keys, digests, strict=True)]

        def compute(missing: list[int]) -> Iterator[dict[str, Tensor]]:
            for place, features in zip(missing, encode(missing), strict=True):
                if digest_of_files(item.impath for item in files[place]) != digests[place]:
                    raise InputError("image files changed while they were encoded; start again when they are at rest")
                yield {"features": features}

        kept = self.store.get_many(kind, keys, compute)
        return [entry["features"].to(self.backbone.device) for entry in kept]

    @torch.no_grad()
    def _encode(
        self, images: Dataset, prompt: VisualPrompt | None, batch_size: int, workers: int, describe: str
    ) -> Iterator[Tensor]:
        """Normalised features of one batch after the other."""
        device = self.backbone.device
        loader = DataLoader(images, batch_size, num_workers=workers, pin_memory=device.type == "cuda")
        for batch in tqdm(loader, desc=f"encoding {describe}", unit="batch", delay=2, mininterval=2):
            with self.precision.autocast():
                parts = batch["img"].to(device, non_blocking=True).split(self.batch_size)
                encoded = torch.cat([self.backbone.encode_image(part, prompt) for part in parts])
            yield F.normalize(encoded.float(), dim=-1)


class FeatureStream:
    """Features of the training views of every epoch, encoded some epochs ahead.

    The blocks of epochs lie on a fixed grid, so that a resumed run, or one with other shots, encodes the very batches
    of an undisturbed one, and methods that train for a different number of epochs share what they have in common.
    """

    def __init__(self, encoder: Encoder, prompt: VisualPrompt | None, images: DatasetWrapper, max_epoch: int):
        self.encoder, self.prompt, self.images = encoder, prompt, images
        self.epochs = min(max_epoch, images.reused_views or max_epoch)
        device = encoder.backbone.device
        self.span = EPOCHS_AHEAD.get(device.type, 16)
        self.labels = torch.tensor([item.label for item in images.data_source], device=device)
        self._block, self._features = -1, None

    def epoch(self, epoch: int) -> Tensor:
        """Features (N, D) of all training images as seen in one epoch."""
        epoch = self.images.view_of(epoch)
        block = epoch // self.span
        if block != self._block:
            first = block * self.span
            epochs = range(first, min(first + self.span, self.epochs))
            self._block, self._features = block, self.encoder.views(self.images, self.prompt, epochs)
        return self._features[epoch - block * self.span]


class _Views(Dataset):
    """Some images in each of several epochs, one image after the other."""

    def __init__(self, images: DatasetWrapper, places: list[int], epochs: range):
        self.images, self.places, self.epochs = images, places, epochs

    def __len__(self) -> int:
        return len(self.epochs) * len(self.places)

    def __getitem__(self, index: int) -> dict:
        image, epoch = divmod(index, len(self.epochs))
        return {"img": self.images.load(self.places[image], self.epochs[epoch])["img"]}
