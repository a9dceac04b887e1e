"""Digests of the content of files, computed once per file and kept in the cache."""

import contextlib
import hashlib
import os
import stat
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import orjson
from tqdm import tqdm

from dassl.errors import InputError
from dassl.utils import atomic_path, cache_dir

# A file that was changed this short a time ago may change again without another time stamp: file systems round times.
SETTLED_NS = 2_000_000_000
Status = tuple[int, int, int, int]


def content_digests(paths: Iterable[str]) -> dict[str, str]:
    """The digest of the content of each file, by its path as given.

    A digest is kept in the cache with the file's size, times of modification and of status change, and inode. While
    these stay the same the file is not read again. A program can set the first two back, but not the third.

    Raises:
        InputError: a file is missing, cannot be read, or is not a regular file.
    """
    paths = dict.fromkeys(paths)
    by_folder: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        by_folder[os.path.dirname(os.path.abspath(path))].append(path)
    return {path: digest for folder, inside in by_folder.items() for path, digest in _of_folder(folder, inside)}


def digests_of_groups(groups: Iterable[Iterable[str]]) -> list[str]:
    """One digest for each group of files: of their contents in this order, whatever the names of the files are."""
    groups = [list(paths) for paths in groups]
    digests = content_digests(path for paths in groups for path in paths)
    return [hashlib.sha256("\n".join(digests[path] for path in paths).encode()).hexdigest() for paths in groups]


def file_status(path: str) -> Status:
    """Size, times of modification and of status change in nanoseconds, and inode: they differ after a change.

    Raises:
        InputError: the file is missing or is not a regular file.
    """
    try:
        found = os.stat(path)
    except (OSError, ValueError) as error:
        raise _unreadable(path, getattr(error, "strerror", None) or str(error)) from error
    if not stat.S_ISREG(found.st_mode):
        raise _unreadable(path, "it is not a regular file")
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino


def _of_folder(folder: str, paths: list[str]) -> Iterator[tuple[str, str]]:
    """Paths and digests of files in one folder, whose digests are kept in one file."""
    cached = cache_dir() / "digests" / f"{hashlib.sha256(os.fsencode(folder)).hexdigest()[:32]}.json"
    known, now = _read(cached), time.time_ns()
    statuses = {path: file_status(path) for path in paths}
    found = {path: known.get(_name(path), {}).get(_text(statuses[path])) for path in paths}
    missing = [path for path, digest in found.items() if digest is None]
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        digests = pool.map(_digest, missing)
        found.update(zip(missing, tqdm(digests, "reading images", len(missing), delay=5), strict=True))
    settled = [path for path in missing if max(statuses[path][1:3]) < now - SETTLED_NS]
    if settled:
        known |= {_name(path): {_text(statuses[path]): found[path]} for path in settled}
        # If the digests cannot be kept, they are computed again next time.
        with contextlib.suppress(OSError), atomic_path(cached) as temporary:
            temporary.write_bytes(orjson.dumps(known))
    return ((path, str(digest)) for path, digest in found.items())


def _name(path: str) -> str:
    """The name of a file in its folder, as text that JSON can hold."""
    return os.fsencode(os.path.basename(path)).decode(errors="backslashreplace")


def _text(status: Status) -> str:
    return " ".join(map(str, status))


def _digest(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _unreadable(path, error.strerror) from error


def _unreadable(path: str, reason: str | None) -> InputError:
    return InputError(f"image '{path}' cannot be read ({reason}); replace or remove it")


def _read(cached: Path) -> dict[str, dict[str, str]]:
    """The digests that are kept of a folder: file name -> status -> digest; empty where the file is missing or bad."""
    try:
        content = orjson.loads(cached.read_bytes())
    except (OSError, ValueError):
        return {}
    if not isinstance(content, dict):
        return {}
    return {name: entry for name, entry in content.items() if isinstance(entry, dict) and _is_text(entry)}


def _is_text(entry: dict) -> bool:
    return all(isinstance(digest, str) for digest in entry.values())
