"""The parts of a run, each timed in the published way ("reference") and in this code base's ("default")."""

import contextlib
import itertools
import os
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

import clip.backbone
from configs import Choice, build_cfg
from dassl.engine import build_trainer
from dassl.utils import cache_dir
from datasets.splits import few_shot
from trainers import lockstep
from trainers.features import _Views
from trainers.store import Store

REFERENCE = ["FEATURES", "online", "TEXT_PADDING", "context"]
PUBLISHED_SENTENCE_BATCH = 50  # the published code encodes a class's sentences at once


class Bench:
    """Biomed-DPT at 16 shots on four classes, built in both ways on one full-size model."""

    def __init__(self, path: str, dataset: str, root: str, folder: Path, opts: list[str]):
        self.folder = folder
        fixed = ["MODEL.BACKBONE.PATH", path, "OUTPUT_DIR", str(folder), "DATALOADER.NUM_WORKERS", "0", *opts]
        fixed += ["TRAIN.PRINT_FREQ", "1000000", "VERBOSE", "False"]
        if dataset == "phantom":
            fixed += ["DATASET.SUBSAMPLE_CLASSES", "base"]

        def build(seed: int, extra: list[str]):
            choice = Choice("BiomedDPT", "BiomedCLIP", dataset, seed=seed, root=root, opts=[*fixed, *extra])
            return build_trainer(build_cfg(choice))

        self.runs = [build(seed, []) for seed in (1, 2, 3)]
        self.default = self.runs[0]
        self.reference = build(1, [*REFERENCE, "TRAINER.BIOMEDDPT.N_PROMPTS", "1"])
        self.reference.teacher = self.default.teacher
        self.device = self.default.device
        self.default.encoder.store = Store(folder / "features", limit=10**10)
        names = self.default.classnames
        per_class = self.default.prompts.sentences(names, self.default.settings.N_PROMPTS)
        self.sentences = [sentence for of_class in per_class for sentence in of_class]
        for run in self.runs:  # steps on features do not depend on what the features are
            count = len(run.train_loader_x.dataset)
            features = F.normalize(torch.randn(count, run.backbone.embed_dim, device=self.device), dim=-1)
            run.stream.epoch = lambda epoch, features=features: features
        self._walks = {run: self._batches(run) for run in (*self.runs, self.reference)}

    def _batches(self, run) -> Iterator[dict]:
        """Batches without end; nothing is kept or tested between epochs."""
        run.before_train = run.after_epoch = lambda: None
        run.max_epoch = 10**6
        return run.walk()

    # Start-up: features of the teacher's sentences.

    def teacher_reference(self) -> float:
        """The sentences of one class, padded, at once; scaled to all."""
        chosen = self.sentences[:PUBLISHED_SENTENCE_BATCH]
        with _changed(clip.backbone.SENTENCE_BATCH, self.device.type, len(chosen)):
            took = self._seconds(lambda: self.reference.backbone.encode_sentences(chosen))
        return took * len(self.sentences) / len(chosen)

    def teacher_cold(self) -> float:
        for path in self.default.encoder.store.folder.glob("text/*"):
            path.unlink()
        return self.teacher_warm()

    def teacher_warm(self) -> float:
        return self._seconds(lambda: self.default.encoder.sentences(self.sentences))

    # Training: a step of batch 4.

    def step_reference(self) -> float:
        return self._seconds(lambda: lockstep.step({self.reference: next(self._walks[self.reference])}))

    def step_on_features(self) -> float:
        return self._seconds(lambda: lockstep.step({self.default: next(self._walks[self.default])}))

    def step_of_three(self) -> float:
        """Seconds per seed of one step of a stack of three seeds."""
        return self._seconds(lambda: lockstep.step({run: next(self._walks[run]) for run in self.runs})) / 3

    def text_reference(self) -> float:
        return self._seconds(lambda: self._text(self.reference))

    def text_default(self) -> float:
        return self._seconds(lambda: self._text(self.default))

    def _text(self, run) -> None:
        run.context.zero_grad()
        run.text_features().square().sum().backward()

    def view(self, precision: str = "fp32", images: int = 3) -> float:
        """Encoding one training view of images decoded before: cropping and the image tower."""
        encoder, dataset = self.default.encoder, self.default.train_loader_x.dataset
        dataset.decode_all()
        span = self.default.stream.span
        views = _Views(dataset, list(range(images)), range(span))
        encode = lambda: list(encoder._encode(views, self.default.visual_prompt, span, 0, "views"))  # noqa: E731
        with encoder_precision(encoder, precision):
            return self._seconds(encode) / (images * span)

    # Testing.

    def test_image_reference(self, count: int = 20) -> float:
        """Encoding one test image that is decoded already, in a batch (as configured 100, here `count`)."""
        images = self.reference.test_loader.dataset
        pixels = torch.stack([images[index % len(images)]["img"] for index in range(count)]).to(self.device)
        with torch.no_grad():
            work = lambda: self.reference.image_features({"img": pixels})  # noqa: E731
            return self._seconds(work) / count

    def test_warm(self, count: int) -> float:
        """Testing `count` images whose features are kept: reading, checking, logits."""
        encoder = self.default.encoder
        items = list(itertools.islice(itertools.cycle(self.default.dm.dataset.test), count))
        encode = encoder._encode
        encoder._encode = lambda *_: iter([F.normalize(torch.randn(count, self.default.backbone.embed_dim), dim=-1)])
        try:
            encoder.images(items, self.default.visual_prompt, "test images")  # fills the entry
        finally:
            encoder._encode = encode
        with torch.no_grad():
            return self._seconds(
                lambda: self.default.logits(encoder.images(items, self.default.visual_prompt, "test images")[0])
            )

    def views_in_common(self, shots: tuple[int, ...], seeds: int) -> float:
        """The share of the training images of a column that a run with other shots has encoded already."""
        split, labels = self.default.dm.dataset.split, range(len(self.default.classnames))
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
            self.default.backbone.encode_image(pixels, self.default.visual_prompt)
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
def encoder_precision(encoder, name: str) -> Iterator[None]:
    from trainers.precision import Precision

    before, encoder.precision = encoder.precision, Precision(name, encoder.backbone.device, "FEATURE_PREC")
    try:
        yield
    finally:
        encoder.precision = before


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
