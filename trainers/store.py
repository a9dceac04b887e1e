"""A cache of tensors on disk, keyed by everything that they depend on."""

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from dassl.errors import InputError
from dassl.utils import atomic_path, cache_dir

SIZE_VARIABLE = "BIOMED_DPT_CACHE_GB"
DEFAULT_GB = 20.0
Tensors = dict[str, Tensor]


class Store:
    """A cache folder with one file per entry: <folder>/<kind>/<digest of the key>.safetensors.

    Each file holds its key and a checksum. Several processes may share a store: a process that needs an entry waits
    while another computes it, and the lock of a process that dies is released at once. If the store cannot be written
    to, entries are computed again and the run goes on. The folder may be deleted at any time.

    Args:
        folder: the cache folder.
        limit: maximum size in bytes. Beyond it the least recently used entries are removed; 0 switches the cache off.
    """

    def __init__(self, folder: Path, limit: int):
        self.folder, self.limit = folder, limit

    def get(self, kind: str, key: dict, compute: Callable[[], Tensors]) -> Tensors:
        """Return the tensors of a key, on the CPU: from the cache, or else computed and written to the cache."""
        return self.get_many(kind, [key], lambda _: [compute()])[0]

    def get_many(self, kind: str, keys: Sequence[dict], compute: Callable[[list[int]], Iterable[Tensors]]) -> list:
        """Return the tensors of several keys. Missing entries are computed in one call and written one by one.

        Args:
            kind: name of the sub-folder.
            keys: for each entry, everything that its tensors depend on, as JSON values.
            compute: computes the entries with the given indices, in their order. It must not use the store.
        """
        if self.limit <= 0:
            return [_on_cpu(tensors) for tensors in compute(list(range(len(keys))))]
        texts = [json.dumps(key, sort_keys=True) for key in keys]
        names = (hashlib.sha256(text.encode()).hexdigest() for text in texts)
        paths = [self.folder / kind / f"{name}.safetensors" for name in names]
        found = [_read(path, text) for path, text in zip(paths, texts, strict=True)]
        missing = [index for index, tensors in enumerate(found) if tensors is None]
        with contextlib.ExitStack() as locks:
            for path in sorted({paths[index] for index in missing}):  # the same order in all processes: no deadlock
                locks.enter_context(_lock(path))
            for index in missing:  # another process may have written the entry meanwhile
                found[index] = _read(paths[index], texts[index])
            missing = [index for index in missing if found[index] is None]
            for index, tensors in zip(missing, compute(missing) if missing else (), strict=True):
                computed = found[index] = _on_cpu(tensors)
                self._write(paths[index], texts[index], computed)
            if missing:
                self._trim(keep={paths[index] for index in missing})
        return found

    def _write(self, path: Path, key: str, tensors: Tensors) -> None:
        content = save(tensors, {"key": key, "checksum": _checksum(tensors)})
        if len(content) > self.limit:
            return
        try:
            with atomic_path(path) as temporary:
                temporary.write_bytes(content)
        except OSError as error:
            print(f"features cannot be cached in '{self.folder}' ({error}); the run continues without")

    def _trim(self, keep: set[Path]) -> None:
        """Remove the least recently used entries until the size is within the limit."""
        entries = []
        for path in self.folder.glob("*/*.safetensors"):
            with contextlib.suppress(FileNotFoundError):
                status = path.stat()
                entries.append((status.st_mtime_ns, status.st_size, path))
        total = sum(size for _, size, _ in entries)
        for _, size, path in sorted(entries):
            if total <= self.limit:
                return
            if path not in keep:
                path.unlink(missing_ok=True)
                total -= size


def open_store() -> Store:
    """Open the store in the user's cache folder; BIOMED_DPT_CACHE_GB limits its size (default 20, 0 for no cache)."""
    text = os.environ.get(SIZE_VARIABLE, "") or DEFAULT_GB
    try:
        limit = int(float(text) * 1e9)
    except (ValueError, OverflowError) as error:
        raise InputError(f"{SIZE_VARIABLE} is '{text}'; set it to a number of gigabytes, 0 for no cache") from error
    return Store(cache_dir() / "features", limit)


def _on_cpu(tensors: Tensors) -> Tensors:
    return {name: value.detach().cpu().contiguous() for name, value in tensors.items()}


def _read(path: Path, key: str) -> Tensors | None:
    """Read an entry; return None if it is missing or damaged. A damaged entry is reported."""
    try:
        with safe_open(path, "pt") as file:
            about = file.metadata() or {}
            # Copies are aligned in memory as computed tensors are, and matrix products depend on it in the last bit.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 - not a dictionary
    except FileNotFoundError:
        return None
    except (SafetensorError, OSError) as error:
        return _damaged(path, str(error))
    if about.get("key") != key:
        return _damaged(path, "it has another key")
    if about.get("checksum") != _checksum(tensors):
        return _damaged(path, "its checksum is wrong")
    with contextlib.suppress(OSError):
        os.utime(path)  # marks it as used
    return tensors


def _damaged(path: Path, reason: str) -> Tensors | None:
    print(f"cached features '{path}' are damaged ({reason}); they are computed again")
    return None


def _checksum(tensors: Tensors) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for name, value in sorted(tensors.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _lock_path(path: Path) -> Path:
    return path.with_suffix(".lock")


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Hold the lock of an entry; without one where locking is impossible, for example in a read-only folder."""
    lock, held = FileLock(_lock_path(path)), True
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            print("waiting for another run that computes the same features")
            lock.acquire()
    except (OSError, NotImplementedError):
        held = False
    try:
        yield
    finally:
        if held:
            # A process that waits for the lock reads the entry first. At worst an unwritten entry is computed twice.
            _lock_path(path).unlink(missing_ok=True)
            lock.release()
