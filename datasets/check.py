"""Find unreadable images before any long work starts."""

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
    """Check that every image can be decoded.

    A set of files that passed is not decoded again while its names, sizes and modification times stay the same.

    Raises:
        InputError: images cannot be decoded. The message names the first ones.
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
    with contextlib.suppress(OSError):  # if the mark cannot be written, the images are checked again next time
        passed.parent.mkdir(parents=True, exist_ok=True)
        passed.touch()


def _problem(path: str) -> str | None:
    """Return why an image cannot be decoded; None if it can."""
    try:
        with Image.open(path) as image:
            image.draft("RGB", (64, 64))  # a JPEG at an eighth of its size: faster, and still reads the whole file
            image.load()
    except (OSError, SyntaxError, ValueError) as error:
        return f"'{path}' ({error})"
    return None


def digest_of_files(paths: Iterable[str]) -> str:
    """Return a hash of the paths, sizes and modification times of files.

    Raises:
        InputError: a file is missing.
    """
    digest = hashlib.sha256()
    for path in paths:
        try:
            status = os.stat(path)
        except OSError as error:
            raise InputError(f"image '{path}' cannot be read ({error.strerror}); replace or remove it") from error
        digest.update(f"{os.path.abspath(path)}|{status.st_size}|{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()
