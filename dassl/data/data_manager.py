"""Data loaders: from the image lists of a data set to batches."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from yacs.config import CfgNode

from dassl.data.datasets import Datum, build_dataset, build_image_reader
from dassl.data.samplers import build_sampler
from dassl.utils import seeded, stream_seed

DECODED_BYTES = 128e6  # the limit of decoded images in memory, per data set

Transform = Callable[[Image.Image], Any]


class DatasetWrapper(Dataset):
    """The images of a list of Datum, as tensors.

    In training, each view is a pure function of seed, epoch and image. It does not depend on the order of the images,
    the number of workers or earlier random draws. Call `set_epoch` before the workers of an epoch start. With
    DATALOADER.REUSED_VIEWS n, epoch e uses the views of epoch e mod n.

    Items are dictionaries with "img" (3, H, W), "label", "domain", "impath" and "index". They also have "img2" … if
    K_TRANSFORMS is above 1, and "img0", the image without augmentation, if RETURN_IMG0 is set.
    """

    def __init__(
        self, cfg: CfgNode, data_source: Sequence[Datum], transform: Transform | None = None, is_train: bool = False
    ):
        self.cfg = cfg
        self.data_source = data_source
        self.transform = transform
        self.is_train = is_train
        self.seed = max(cfg.SEED, 0)
        self.epoch = 0
        self.views = cfg.DATALOADER.K_TRANSFORMS if is_train else 1
        self.reused_views = cfg.DATALOADER.REUSED_VIEWS
        self.plain = _transform(cfg, is_train=False) if cfg.DATALOADER.RETURN_IMG0 else None
        self.read_image = build_image_reader(cfg)
        self._decoded: dict[int, Image.Image] = {}

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def view_of(self, epoch: int) -> int:
        """Return the epoch whose views an epoch uses: the epoch itself, unless views are reused."""
        return epoch % self.reused_views if self.reused_views else epoch

    def decode_all(self) -> None:
        """Decode the images and hold them in memory, up to DECODED_BYTES; the rest is decoded at each use.

        Call this before the workers start, so that they inherit the decoded images.
        """
        if self._decoded:
            return
        paths = [item.impath for item in self.data_source]
        threads, free = min(8, os.cpu_count() or 1), DECODED_BYTES
        with ThreadPoolExecutor(threads) as pool:
            for first in range(0, len(paths), threads):
                images = pool.map(self.read_image, paths[first : first + threads])
                for index, image in enumerate(images, first):
                    free -= 3 * image.width * image.height
                    if free < 0:
                        return
                    self._decoded[index] = image

    def __len__(self) -> int:
        return len(self.data_source)

    def __getitem__(self, index: int) -> dict:
        return self.load(index, self.epoch)

    def load(self, index: int, epoch: int) -> dict:
        """Return the item of an image in a given epoch."""
        item = self.data_source[index]
        output: dict[str, Any] = {"label": item.label, "domain": item.domain, "impath": item.impath, "index": index}
        image = self._decoded.get(index) or self.read_image(item.impath)
        epoch = self.view_of(epoch)
        for k in range(self.views):
            output[f"img{k + 1}" if k else "img"] = self._view(image, item, epoch, k)
        if self.plain is not None:
            output["img0"] = self.plain(image)
        return output

    def _view(self, image: Image.Image, item: Datum, epoch: int, k: int) -> Any:
        """Transform an image; each view has a random stream of its own."""
        if self.transform is None:
            return image
        if not self.is_train:
            return self.transform(image)
        with seeded(stream_seed("view", self.seed, epoch, stream_name(item.impath), k)):
            return self.transform(image)


def stream_name(path: str) -> str:
    """What the random streams of an image's views are seeded with: its name and folder, whatever the data root is."""
    return "/".join(Path(path).parts[-2:])


def _transform(cfg: CfgNode, is_train: bool) -> Transform | None:
    # torchvision takes seconds to import, and programs that only check settings do not need it.
    from dassl.data.transforms import build_transform

    return build_transform(cfg, is_train)


def usable_workers(cfg: CfgNode) -> int:
    """Return DATALOADER.NUM_WORKERS, but at most the number of cores."""
    return min(cfg.DATALOADER.NUM_WORKERS, os.cpu_count() or 1)


def build_data_loader(
    cfg: CfgNode,
    sampler_type: str = "SequentialSampler",
    data_source: Sequence[Datum] = (),
    batch_size: int = 64,
    tfm: Transform | None = None,
    is_train: bool = True,
    dataset_wrapper: Callable[..., Dataset] | None = None,
    **_ignored: Any,
) -> DataLoader:
    """Build a loader over a list of Datum.

    In training the last incomplete batch is dropped if there is at least one complete batch.
    """
    sampler = build_sampler(sampler_type, data_source, seed=max(cfg.SEED, 0))
    dataset = (dataset_wrapper or DatasetWrapper)(cfg, data_source, transform=tfm, is_train=is_train)
    return DataLoader(
        dataset,
        batch_size=batch_size,
        sampler=sampler,
        num_workers=usable_workers(cfg),
        drop_last=is_train and len(data_source) >= batch_size,
        pin_memory=torch.cuda.is_available() and cfg.USE_CUDA,
    )


class DataManager:
    """The data set of a configuration, and its loaders for training (x labelled, u unlabelled), validation and test.

    A data set that was built before may be given as `dataset`.
    """

    def __init__(
        self,
        cfg: CfgNode,
        custom_tfm_train: Transform | None = None,
        custom_tfm_test: Transform | None = None,
        dataset_wrapper: Callable[..., Dataset] | None = None,
        dataset: Any = None,
    ):
        dataset = build_dataset(cfg) if dataset is None else dataset
        tfm_train = custom_tfm_train or _transform(cfg, is_train=True)
        tfm_test = custom_tfm_test or _transform(cfg, is_train=False)
        train, test = cfg.DATALOADER.TRAIN_X, cfg.DATALOADER.TEST

        def loader(
            source: list[Datum] | None, part: CfgNode, tfm: Transform | None, is_train: bool
        ) -> DataLoader | None:
            # An empty list of training images has a loader without batches: it serves tests of a trained model.
            if source is None or (not source and source is not dataset.train_x):
                return None
            return build_data_loader(cfg, part.SAMPLER, source, part.BATCH_SIZE, tfm, is_train, dataset_wrapper)

        self.cfg = cfg
        self.dataset = dataset
        self.train_loader_x = loader(dataset.train_x, train, tfm_train, True)
        self.train_loader_u = loader(dataset.train_u, cfg.DATALOADER.TRAIN_U, tfm_train, True)
        self.val_loader = loader(dataset.val, test, tfm_test, False)
        self.test_loader = loader(dataset.test, test, tfm_test, False)
        self.num_classes = dataset.num_classes
        self.lab2cname = dataset.lab2cname
        self.num_source_domains = len(cfg.DATASET.SOURCE_DOMAINS)
        if cfg.VERBOSE:
            self.show_dataset_summary(cfg)

    def show_dataset_summary(self, cfg: CfgNode) -> None:
        """Print the number of classes and the size of each part."""
        dataset = self.dataset
        counts = {"train_x": dataset.train_x, "train_u": dataset.train_u, "val": dataset.val, "test": dataset.test}
        print(f"Dataset: {cfg.DATASET.NAME}, {self.num_classes} classes")
        print("  " + ", ".join(f"{name} {len(source):,}" for name, source in counts.items() if source))


def set_epoch(loader: DataLoader, epoch: int) -> None:
    """Set the epoch of a loader's data set and sampler."""
    for part in (loader.dataset, loader.sampler):
        if hasattr(part, "set_epoch"):
            part.set_epoch(epoch)
