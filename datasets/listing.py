"""The image files below a folder."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from datasets.dicom import is_dicom
from datasets.images import IMAGE_SUFFIXES

DICOM_DIRECTORY = "DICOMDIR"  # the table of contents of a medium, a DICOM file without an image


def images_below(folder: Path, look_inside: bool = False) -> list[str]:
    """Sorted paths of the image files in a folder and its sub-folders, relative to it; without hidden ones.

    What is named like an image is listed, also if it cannot be read: its reader refuses it by name. Links are
    followed, each folder once, so that a link to a folder above does not end in a circle.

    Args:
        folder: the folder.
        look_inside: list also DICOM files of other names, which only their content tells.
    """
    return sorted(_images(str(folder), "", set(), look_inside))


def _images(folder: str, prefix: str, seen: set[str], look_inside: bool) -> Iterator[str]:
    real = os.path.realpath(folder)
    if real in seen:
        return
    seen.add(real)
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.name.startswith("."):
                continue
            if os.path.isdir(entry.path):
                yield from _images(entry.path, f"{prefix}{entry.name}/", seen, look_inside)
            elif os.path.splitext(entry.name)[1].lower() in IMAGE_SUFFIXES or (look_inside and _is_dicom(entry)):
                yield prefix + entry.name


def _is_dicom(entry: os.DirEntry) -> bool:
    with contextlib.suppress(OSError):
        return entry.is_file() and entry.name != DICOM_DIRECTORY and is_dicom(entry.path, IMAGE_SUFFIXES)
    return False
