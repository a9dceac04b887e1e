"""Find unreadable images before any long work starts, and say what is done to images that are not plain 8 bit."""

import contextlib
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm
from yacs.config import CfgNode

from dassl.data.datasets import DatasetBase, build_image_reader
from dassl.errors import InputError
from dassl.utils import cache_dir, write_json
from datasets.digests import file_status
from datasets.images import WARNINGS, ImageReader

FORMAT = 1  # increase it when a change of the code changes what is read, refused or said of the same files
Notes = dict[str, int]


def check_dataset(dataset: DatasetBase, cfg: CfgNode) -> Notes:
    """Check the images of a run; see `check_images`. A data set class with its own way of reading is not checked."""
    reader = build_image_reader(cfg)
    if not isinstance(reader, ImageReader):
        return {}
    parts = [dataset.train_x, dataset.train_u, dataset.val, dataset.test]
    if cfg.PROTOCOL == "base2new" and cfg.DATASET.SUBSAMPLE_CLASSES == "base":
        parts.append(dataset.test_of("new")[0])
    return check_images((item.impath for part in parts for item in part or ()), reader)


def check_images(paths: Iterable[str], reader: ImageReader) -> Notes:
    """Check that every image can be read, and print and return what is done to those that are not plain 8 bit.

    Files that passed are not decoded again while they, by name, size, times and inode, and the reader stay the same.

    Returns:
        What is done to images, in words -> their number; empty if all have 8 bits and one frame.

    Raises:
        InputError: images cannot be read. The message names the first ones.
    """
    paths = sorted(set(paths))
    mark = cache_dir() / "checked" / f"{_digest(paths, reader)}.json"
    notes = _read_mark(mark)
    if notes is None:
        notes = _check(paths, reader)
        with contextlib.suppress(OSError):  # if the mark cannot be written, the images are checked again next time
            write_json(notes, str(mark))
    print_notes(notes, len(paths))
    return notes


def print_notes(notes: Notes, images: int) -> None:
    """Print what is done to images that are not plain 8 bit, of a number of images; nothing where all are."""
    if notes:
        listed = "; ".join(f"{note} ({count:,})" for note, count in notes.items())
        print(f"of {images:,} images, these are not plain 8 bit: {listed}")
    for note in (note for note in notes if note in WARNINGS):
        print(f"warning: {note} ({notes[note]:,} images): {WARNINGS[note]}")


def _check(paths: list[str], reader: ImageReader) -> Notes:
    def look(path: str) -> list[str] | InputError:
        try:
            return reader.notes(path)
        except InputError as error:
            return error

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        found = list(tqdm(pool.map(look, paths), total=len(paths), desc="checking images", delay=2))
    problems = [str(result).removeprefix("image ") for result in found if isinstance(result, InputError)]
    if problems:
        more = [f"and {len(problems) - 3:,} more"] if len(problems) > 3 else []
        raise InputError("unreadable images: " + "\n".join([*problems[:3], *more]))
    return dict(sorted(Counter(note for notes in found for note in notes).items()))


def _digest(paths: list[str], reader: ImageReader) -> str:
    digest = hashlib.sha256(f"{FORMAT} {reader!r} {reader.max_pixels}".encode())
    for path in paths:
        digest.update(f"\n{os.path.abspath(path)} {file_status(path)}".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _read_mark(path: Path) -> Notes | None:
    """What a mark says; None where there is none or it is damaged."""
    try:
        notes = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    fits = isinstance(notes, dict) and all(isinstance(count, int) for count in notes.values())
    return notes if fits else None
