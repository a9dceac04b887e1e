"""Finds unreadable images before any long work starts."""

import contextlib
import hashlib
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from PIL import Image
from tqdm import tqdm

from dassl.errors import InputError
from dassl.utils import cache_dir


def check_images(paths: Iterable[str]) -> None:
    """Decode every image once; a set of files that passed is remembered by names, sizes and times of change.

    Raises:
        InputError: naming the first images that cannot be decoded to the end.
    """
    paths = sorted(set(paths))
    passed = cache_dir() / "checked" / digest_of_files(paths)
    if passed.is_file():
        return
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        results = pool.map(_problem, paths)
        problems = [p for p in tqdm(results, total=len(paths), desc="checking images", delay=2) if p]
    if problems:
        more = f" (and {len(problems) - 3} more)" if len(problems) > 3 else ""
        raise InputError(f"unreadable images: {'; '.join(problems[:3])}{more}; replace or remove them")
    with contextlib.suppress(OSError):  # without a writable cache the images are checked again next time
        passed.parent.mkdir(parents=True, exist_ok=True)
        passed.touch()


def _problem(path: str) -> str | None:
    try:
        with Image.open(path) as image:
            image.draft("RGB", (64, 64))  # JPEG: decode at an eighth of the size, which still reads the whole stream
            image.load()
    except (OSError, SyntaxError, ValueError) as error:
        return f"'{path}' ({error})"
    return None


def digest_of_files(paths: Iterable[str]) -> str:
    """Names the content of files by their paths, sizes and times of change; a missing one is an InputError."""
    digest = hashlib.sha256()
    for path in paths:
        try:
            status = os.stat(path)
        except OSError as error:
            raise InputError(f"image '{path}' cannot be read ({error.strerror}); replace or remove it") from error
        digest.update(f"{os.path.abspath(path)}|{status.st_size}|{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()
