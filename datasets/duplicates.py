"""Images with equal content in two parts of a split."""

import os
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from dassl.errors import InputError, shown
from datasets.digests import content_digests, file_status
from datasets.split_check import Parts, some

TRAINED_ON = {"val": ("train",), "test": ("train", "val")}


def check_duplicates(parts: Parts, image_dir: Path, action: str) -> None:
    """Say which validation and test images have the content of an image that is trained or chosen on.

    Args:
        parts: the split.
        image_dir: the folder that its paths are relative to, but for those that are absolute.
        action: "warn" prints a warning, "error" refuses the split, "allow" does nothing.

    Raises:
        InputError: there are such images, and `action` is "error"; or a file cannot be read.
    """
    if action == "allow":
        return
    contents = _contents(parts, image_dir)
    found = []
    for part, others in TRAINED_ON.items():
        known = {contents[path]: path for other in others for path, _, _ in parts[other] if path in contents}
        pairs = [(path, known[contents[path]]) for path, _, _ in parts[part] if contents.get(path) in known]
        if pairs:
            names = some(f"{shown(path)} = {shown(other)}" for path, other in pairs)
            places = " or ".join(others)
            found.append(f"{len(pairs):,} of {len(parts[part]):,} {part} images are also in {places}: {names}")
    if not found:
        return
    message = f"images with equal content in two parts of the split: {'; '.join(found)}"
    if action == "error":
        raise InputError(f"{message}; remove them, or set DATASET.DUPLICATES to warn or allow")
    print(f"warning: {message} (DATASET.DUPLICATES error refuses them, allow accepts them)")


def _contents(parts: Parts, image_dir: Path) -> Mapping[str, str]:
    """The digests of those images whose size occurs in two parts; others cannot be equal and are not read."""
    files = {path: os.path.join(image_dir, path) for entries in parts.values() for path, _, _ in entries}
    size = {path: file_status(file)[0] for path, file in files.items()}
    parts_of_size: dict[int, set[str]] = defaultdict(set)
    for part, entries in parts.items():
        for path, _, _ in entries:
            parts_of_size[size[path]].add(part)
    alike = [path for path in files if len(parts_of_size[size[path]]) > 1]
    digests = content_digests(files[path] for path in alike)
    return {path: digests[files[path]] for path in alike}
