"""The image files below a folder."""

import os
from collections.abc import Iterator
from pathlib import Path

from datasets.images import IMAGE_SUFFIXES


def images_below(folder: Path) -> list[str]:
    """Sorted paths of the image files in a folder and its sub-folders, relative to it; without hidden ones.

    What is named like an image is listed, also if it cannot be read: its reader refuses it by name. Links are
    followed, each folder once, so that a link to a folder above does not end in a circle.
    """
    return sorted(_images(str(folder), "", set()))


def _images(folder: str, prefix: str, seen: set[str]) -> Iterator[str]:
    real = os.path.realpath(folder)
    if real in seen:
        return
    seen.add(real)
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if os.path.isdir(entry.path):
                yield from _images(entry.path, f"{prefix}{entry.name}/", seen)
            elif os.path.splitext(entry.name)[1].lower() in IMAGE_SUFFIXES:
                yield prefix + entry.name
