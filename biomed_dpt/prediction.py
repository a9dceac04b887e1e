"""Predictions of image files, one batch after another: threads read the files while the model encodes."""

import contextlib
import math
import os
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from dassl.errors import InputError, first_line
from trainers.predictor import Predictor

BATCHES_AHEAD = 2  # that are read while one is encoded
THREADS = 8  # that read, at most, where no number is given


@dataclass(frozen=True)
class Prediction:
    """What was found for one file.

    Attributes:
        file: its path.
        probabilities: (C,), fp64, of the classes; None where the file could not be read.
        error: why it could not be read; "" if it could.
        notes: what reading it did beyond copying 8-bit values, in words.
    """

    file: str
    probabilities: np.ndarray | None = None
    error: str = ""
    notes: list[str] = field(default_factory=list)

    @property
    def ranked(self) -> list[int]:
        """The labels of the classes, the most probable first; equal ones in label order. Empty without a prediction."""
        return [] if self.probabilities is None else np.argsort(-self.probabilities, kind="stable").tolist()

    @property
    def entropy(self) -> float:
        """The entropy of the probabilities in nats, from 0 to ln C; NaN without a prediction."""
        if self.probabilities is None:
            return math.nan
        positive = self.probabilities[self.probabilities > 0]
        return abs(float((positive * np.log(positive)).sum()))


def predictions(predictor: Predictor, paths: Sequence[str], threads: int = 0) -> Iterator[Prediction]:
    """Predict image files, in their order.

    A batch is `predictor.batch_size` consecutive files. Two further ones are in memory at a time, as pixels.

    Args:
        predictor: the tuned model.
        paths: the files. One that cannot be read gets a prediction with an error.
        threads: that read files; 0 for one per core, 8 at most.

    Raises:
        InputError: a batch does not fit into the memory of the GPU.
    """
    size = predictor.batch_size
    threads = threads or min(THREADS, os.cpu_count() or 1)

    def load(path: str) -> tuple[Prediction, Tensor | None]:
        return _load(predictor, path)

    with contextlib.closing(_ahead(load, paths, threads, BATCHES_AHEAD * size)) as loaded:
        while batch := list(islice(loaded, size)):
            yield from _predicted(predictor, batch)


def _ahead(work: Callable, items: Sequence, threads: int, count: int) -> Generator:
    """The results of some work on each item, in order; up to `count` items are worked on ahead."""
    own = torch.get_num_threads()
    # Each of these threads would otherwise start as many threads as there are cores for its operations on pixels.
    pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
    waiting: deque[Future] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > count:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(own)  # the number that threads get which start later


def _load(predictor: Predictor, path: str) -> tuple[Prediction, Tensor | None]:
    """Normalised pixels (3, H, W) of a file, or the reason why there are none."""
    try:
        picture, notes = predictor.reader.with_notes(path)
        _refuse_long_strip(path, picture.size, predictor)
        return Prediction(path, notes=notes), predictor.transform(picture)
    except InputError as error:
        return Prediction(path, error=str(error)), None


def _refuse_long_strip(path: str, size: tuple[int, int], predictor: Predictor) -> None:
    """An InputError for an image of few by many pixels: scaled until its short side fits, it would fill the memory."""
    short, long = sorted(size)
    side = max(predictor.bundle.about["preprocessing"]["SIZE"])
    if side * side * long / short > predictor.reader.max_pixels:
        raise InputError(f"image '{path}' has {size[0]} x {size[1]} pixels, too long a strip to be scaled; crop it")


def _predicted(predictor: Predictor, batch: list[tuple[Prediction, Tensor | None]]) -> Iterator[Prediction]:
    pixels = [found for _, found in batch if found is not None]
    rows = iter(_probabilities(predictor, torch.stack(pixels)) if pixels else ())
    for about, found in batch:
        yield about if found is None else Prediction(about.file, next(rows), notes=about.notes)


def _probabilities(predictor: Predictor, pixels: Tensor) -> np.ndarray:
    try:
        logits = predictor.logits(predictor.features(pixels))
    except torch.OutOfMemoryError as error:
        raise InputError(
            f"a batch of {len(pixels)} images does not fit into memory ({first_line(error)}); use a smaller batch size"
        ) from error
    return predictor.probabilities(logits).cpu().numpy()
