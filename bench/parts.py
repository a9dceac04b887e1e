"""The parts of a run, each timed in the published way ("reference") and in this code base's ("default")."""

import contextlib
import itertools
import os
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from torch.nn import functional as F
from torch.utils.data import Dataset
from torch.utils.flop_counter import FlopCounterMode

import clip.backbone
from configs import Choice, build_cfg
from dassl.data import DatasetWrapper
from dassl.engine import build_trainer
from dassl.utils import cache_dir
from datasets.splits import few_shot
from trainers.features import EPOCHS_AHEAD, Encoder, FeatureStream
from trainers.method import Method
from trainers.stack import step
from trainers.store import Store
from trainers.tuner import Tuner

REFERENCE = ["FEATURES", "online", "TEXT_PADDING", "context"]
PUBLISHED_SENTENCE_BATCH = 50  # the published code encodes a class's sentences at once


class RandomStream:
    """Takes the place of a run's cached features: the time of a step does not depend on their values."""

    def __init__(self, stream: FeatureStream, width: int):
        self.labels = stream.labels
        self.features = F.normalize(torch.randn(len(self.labels), width, device=self.labels.device), dim=-1)

    def batches(self, epoch: int, seed: int, size: int, drop_last: bool) -> list[dict[str, torch.Tensor]]:
        order = torch.arange(len(self.labels), device=self.labels.device)
        return [{"features": self.features[some], "label": self.labels[some]} for some in order.split(size)]


class RandomEncoder(Encoder):
    """Fills the cache with random features."""

    def _encode(self, images: Dataset, *_: object) -> Iterator[torch.Tensor]:
        yield F.normalize(torch.randn(len(images), self.backbone.embed_dim), dim=-1)


class Bench:
    """Biomed-DPT at 16 shots on four classes, built in both ways on one full-size model."""

    def __init__(self, path: str, dataset: str, root: str, folder: Path, opts: list[str]):
        fixed = ["MODEL.BACKBONE.PATH", path, "DATALOADER.NUM_WORKERS", "0", "OPTIM.MAX_EPOCH", str(10**6), *opts]
        fixed += ["TRAIN.PRINT_FREQ", str(10**6), "VERBOSE", "False"]
        if dataset == "phantom":
            fixed += ["DATASET.SUBSAMPLE_CLASSES", "base"]

        def build(name: str, seed: int, extra: Sequence[str] = ()) -> Tuner:
            opts = [*fixed, "OUTPUT_DIR", str(folder / name), *extra]
            choice = Choice("BiomedDPT", "BiomedCLIP", dataset, seed=seed, root=root, opts=opts)
            return build_trainer(build_cfg(choice))

        self.runs = [build(f"seed{seed}", seed) for seed in (1, 2, 3)]
        self.default = self.runs[0]
        self.reference = build("reference", 1, [*REFERENCE, "TRAINER.BIOMEDDPT.N_PROMPTS", "1"])
        self.device = self.default.device
        self.images = self.default.train_loader_x.dataset
        self.prompt = self.default.method.visual_prompt()
        self.encoder = self.default.encoder
        self.encoder.store = Store(folder / "features", limit=10**10)
        names, count = self.default.method.classnames, self.default.method.config.N_PROMPTS
        per_class = self.default.method.prompts.sentences(names, count)
        self.sentences = [sentence for of_class in per_class for sentence in of_class]
        for run in self.runs:
            run.stream = RandomStream(run.stream, run.backbone.embed_dim)
        self._batches = {run: run.batches() for run in (*self.runs, self.reference)}

    # Start-up: features of the teacher's sentences.

    def teacher_reference(self) -> float:
        """The sentences of one class, padded, at once; scaled to all."""
        chosen = self.sentences[:PUBLISHED_SENTENCE_BATCH]
        with _changed(clip.backbone.SENTENCE_BATCH, self.device.type, len(chosen)):
            took = self._seconds(lambda: self.reference.backbone.encode_sentences(chosen))
        return took * len(self.sentences) / len(chosen)

    def teacher_cold(self) -> float:
        for path in self.encoder.store.folder.glob("text/*"):
            path.unlink()
        return self.teacher_warm()

    def teacher_warm(self) -> float:
        return self._seconds(lambda: self.encoder.sentences(self.sentences))

    # Training: a step of batch 4.

    def step_reference(self) -> float:
        return self._step([self.reference])

    def step_on_features(self) -> float:
        return self._step([self.default])

    def step_of_three(self) -> float:
        """One step of three seeds in a stack; seconds per seed."""
        return self._step(self.runs) / len(self.runs)

    def _step(self, runs: Sequence[Tuner]) -> float:
        return self._seconds(lambda: step({run: next(self._batches[run]) for run in runs}))

    def text_reference(self) -> float:
        return self._seconds(lambda: self._text(self.reference.method))

    def text_default(self) -> float:
        return self._seconds(lambda: self._text(self.default.method))

    def _text(self, method: Method) -> None:
        method.zero_grad()
        method.text_features().square().sum().backward()

    def view(self, precision: str = "fp32", count: int = 3) -> float:
        """Encoding one training view of images that are decoded already: cropping and the image tower."""
        cfg = self.default.cfg.clone()
        cfg.defrost()
        cfg.FEATURE_PREC = precision
        encoder = Encoder(self.default.backbone, cfg)
        encoder.store = Store(self.encoder.store.folder, limit=0)
        images = DatasetWrapper(cfg, self.images.data_source[:count], self.images.transform, is_train=True)
        images.decode_all()
        epochs = range(EPOCHS_AHEAD.get(self.device.type, 16))
        return self._seconds(lambda: encoder.views(images, self.prompt, epochs)) / (count * len(epochs))

    # Testing.

    def test_image_reference(self, count: int = 20) -> float:
        """Encoding one test image that is decoded already, in a batch (as configured 100, here `count`)."""
        images = self.reference.test_loader.dataset
        pixels = torch.stack([images[index % len(images)]["img"] for index in range(count)]).to(self.device)
        with torch.no_grad():
            work = lambda: self.reference.method.encode_images(pixels)  # noqa: E731
            return self._seconds(work) / count

    def test_warm(self, count: int) -> float:
        """Testing `count` images with cached features: reading and checking the cache entry, and logits."""
        items = list(itertools.islice(itertools.cycle(self.default.dm.dataset.test), count))
        filling = RandomEncoder(self.default.backbone, self.default.cfg)
        filling.store = self.encoder.store
        filling.images(items, self.prompt, "test images")

        def test() -> None:
            self.default.method.logits(self.encoder.images(items, self.prompt, "test images")[0])

        with torch.no_grad():
            return self._seconds(test)

    def views_in_common(self, shots: tuple[int, ...], seeds: int) -> float:
        """The share of the training images of a column that a run with other shots has encoded already."""
        split, labels = self.default.dm.dataset.split, range(len(self.default.method.classnames))
        drawn, distinct = 0, 0
        for seed in range(1, seeds + 1):
            subsets = [[path for path, label, _ in few_shot(split, k, seed)[0] if label in labels] for k in shots]
            drawn += sum(map(len, subsets))
            distinct += len(set(itertools.chain(*subsets)))
        return 1 - distinct / drawn

    def flops_per_image(self) -> float:
        size = self.default.backbone.image_size
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            pixels = torch.zeros(1, 3, size, size, device=self.device)
            self.default.backbone.encode_image(pixels, self.prompt)
        return counter.get_total_flops()

    def _seconds(self, work: Callable[[], object]) -> float:
        return seconds(work, self.device)


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Wall time of some work, to the end of what it started on a GPU."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    started = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def achievable_flops(device: torch.device, dtype: torch.dtype) -> float:
    """Operations per second of a large matrix product; the median of five."""
    side = 8192 if device.type == "cuda" else 2048
    left, right = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    left @ right
    times = sorted(seconds(lambda: left @ right, device) for _ in range(5))
    return 2 * side**3 / times[2]


@contextlib.contextmanager
def _changed(mapping: dict, key: str, value: object) -> Iterator[None]:
    before = mapping[key]
    mapping[key] = value
    try:
        yield
    finally:
        mapping[key] = before


def peak_memory(path: str, dataset: str, root: str, folder: str, online: bool) -> dict[str, float]:
    """Megabytes in a process of its own: the framework alone, the weights, and the peak of training on features."""
    import open_clip  # noqa: F401 - part of the framework's own memory
    import transformers.models.bert.modeling_bert  # noqa: F401

    framework = _peak_megabytes()
    opts = ["MODEL.BACKBONE.PATH", path, "OUTPUT_DIR", folder, "DATALOADER.NUM_WORKERS", "0", "OPTIM.MAX_EPOCH", "2"]
    opts += ["DATASET.SUBSAMPLE_CLASSES", "base"] if dataset == "phantom" else []
    opts += ["TEST.NO_TEST", "True", *(REFERENCE if online else [])]
    cfg = build_cfg(Choice("BiomedDPT", "BiomedCLIP", dataset, shots=1, root=root, opts=opts))
    with open(os.devnull, "w") as silence, contextlib.redirect_stdout(silence):
        run = build_trainer(cfg)
        run.train()
    weights = sum(p.numel() * p.element_size() for p in run.backbone.parameters()) / 1e6
    on_gpu = run.device.type == "cuda"
    gpu = torch.cuda.max_memory_allocated() / 1e6 if on_gpu else 0.0
    return {"framework": framework, "weights": weights, "above framework": _peak_megabytes() - framework, "gpu": gpu}


def _peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def random_model() -> Path:
    """A full-size BiomedCLIP with random weights, made once."""
    from tools.random_model import full_size_model

    folder = cache_dir() / "bench" / "BiomedCLIP"
    return folder if (folder / "open_clip_pytorch_model.bin").is_file() else full_size_model(folder)
