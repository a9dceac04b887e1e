"""From a data set to batches."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate
from pathlib import Path

import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from yacs.config import CfgNode

from dassl.data.datasets import Datum, build_dataset
from dassl.data.samplers import build_sampler
from dassl.utils import read_image, seeded, stream_seed

DECODED_BYTES = 128e6


class DatasetWrapper(Dataset):
    """Images of a list of Datum as tensors.

    In training each view is a pure function of (seed, epoch, image): it does not depend on the order, the number of
    workers or what was drawn before. `set_epoch` says which epoch; it must be called before workers start. With
    DATALOADER.REUSED_VIEWS n, epoch e shows the views of epoch e mod n.

    Items are dictionaries: "img" (3, H, W), "label", "domain", "impath", "index"; "img2" … for K_TRANSFORMS above 1
    and "img0" (the plain resized image) with RETURN_IMG0.
    """

    def __init__(self, cfg: CfgNode, data_source: Sequence[Datum], transform=None, is_train: bool = False):
        self.cfg = cfg
        self.data_source = data_source
        self.transform = transform
        self.is_train = is_train
        self.seed = max(cfg.SEED, 0)
        self.epoch = 0
        self.views = cfg.DATALOADER.K_TRANSFORMS if is_train else 1
        self.reused_views = cfg.DATALOADER.REUSED_VIEWS
        self.plain = _transform(cfg, is_train=False) if cfg.DATALOADER.RETURN_IMG0 else None
        self._decoded: dict[int, Image.Image] = {}

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def view_of(self, epoch: int) -> int:
        """The epoch whose views an epoch shows: its own, unless views are reused."""
        return epoch % self.reused_views if self.reused_views else epoch

    def decode_all(self) -> None:
        """Decode every image now and keep it; those beyond DECODED_BYTES in all are decoded at each use.

        Called before workers start, who inherit what was decoded.
        """
        if self._decoded:
            return
        paths = [item.impath for item in self.data_source]
        total = accumulate(_decoded_bytes(path) for path in paths)
        kept = [index for index, size in enumerate(total) if size <= DECODED_BYTES]
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            images = pool.map(read_image, (paths[index] for index in kept))
            self._decoded = dict(zip(kept, images, strict=True))

    def __len__(self) -> int:
        return len(self.data_source)

    def __getitem__(self, index: int) -> dict:
        return self.load(index, self.epoch)

    def load(self, index: int, epoch: int) -> dict:
        """The item of an image as it is seen in a given epoch."""
        item = self.data_source[index]
        output = {"label": item.label, "domain": item.domain, "impath": item.impath, "index": index}
        image = self._decoded.get(index) or read_image(item.impath)
        epoch = self.view_of(epoch)
        for k in range(self.views):
            output[f"img{k + 1}" if k else "img"] = self._view(image, item, epoch, k)
        if self.plain is not None:
            output["img0"] = self.plain(image)
        return output

    def _view(self, image, item: Datum, epoch: int, k: int):
        """The transformed image; random choices are drawn from the image's own stream of this epoch."""
        if self.transform is None:
            return image
        if not self.is_train:
            return self.transform(image)
        # The last two parts of the path name the image on every machine, wherever the root lies.
        name = "/".join(Path(item.impath).parts[-2:])
        with seeded(stream_seed("view", self.seed, epoch, name, k)):
            return self.transform(image)


def _decoded_bytes(path: str) -> int:
    try:
        with Image.open(path) as image:
            return 3 * image.width * image.height
    except OSError:
        return 0  # decoding it names what is wrong


def _transform(cfg: CfgNode, is_train: bool):
    # torchvision takes seconds to load, and who only checks settings needs none of it.
    from dassl.data.transforms import build_transform

    return build_transform(cfg, is_train)


def usable_workers(cfg: CfgNode) -> int:
    """DATALOADER.NUM_WORKERS, but no more than there are cores."""
    return min(cfg.DATALOADER.NUM_WORKERS, os.cpu_count() or 1)


def build_data_loader(
    cfg: CfgNode,
    sampler_type: str = "SequentialSampler",
    data_source: Sequence[Datum] = (),
    batch_size: int = 64,
    tfm=None,
    is_train: bool = True,
    dataset_wrapper: type[Dataset] | None = None,
    **_ignored,
) -> DataLoader:
    """A loader over a list of Datum; the last incomplete batch is dropped in training when a full one is there."""
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
    """The data set of a configuration and its loaders: training (x labelled, u unlabelled), validation and test."""

    def __init__(
        self, cfg: CfgNode, custom_tfm_train=None, custom_tfm_test=None, dataset_wrapper: type[Dataset] | None = None
    ):
        dataset = build_dataset(cfg)
        tfm_train = custom_tfm_train or _transform(cfg, is_train=True)
        tfm_test = custom_tfm_test or _transform(cfg, is_train=False)
        train, test = cfg.DATALOADER.TRAIN_X, cfg.DATALOADER.TEST

        def loader(source, part, tfm, is_train):
            if not source:
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
        dataset = self.dataset
        counts = {"train_x": dataset.train_x, "train_u": dataset.train_u, "val": dataset.val, "test": dataset.test}
        print(f"Dataset: {cfg.DATASET.NAME}, {self.num_classes} classes")
        print("  " + ", ".join(f"{name} {len(source):,}" for name, source in counts.items() if source))


def set_epoch(loader: DataLoader, epoch: int) -> None:
    """Tell a loader's data set and sampler which epoch comes next."""
    for part in (loader.dataset, loader.sampler):
        if hasattr(part, "set_epoch"):
            part.set_epoch(epoch)
