"""What is computed once and kept on disk: tensors keyed by everything that they were computed from."""

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
    """Entries <folder>/<kind>/<digest of the key>.safetensors, each with its key and a checksum inside.

    Several processes may share a store: who asks for an entry while another computes it waits for it; the lock of a
    process that dies is free at once. A store that cannot be written to costs time, never a run. It may be deleted
    at any time.

    Args:
        folder: where the entries lie.
        limit: bytes; the entries that were not used for the longest time are removed beyond it; 0 keeps nothing.
    """

    def __init__(self, folder: Path, limit: int):
        self.folder, self.limit = folder, limit

    def get(self, kind: str, key: dict, compute: Callable[[], Tensors]) -> Tensors:
        """The tensors of a key, on the CPU, from disk where they are there, else computed and kept."""
        return self.get_many(kind, [key], lambda _: [compute()])[0]

    def get_many(self, kind: str, keys: Sequence[dict], compute: Callable[[list[int]], Iterable[Tensors]]) -> list:
        """The tensors of several keys; what is missing is computed together, and each entry kept as soon as it is made.

        Args:
            kind: names the sub-folder.
            keys: for each entry, everything that its tensors depend on, as JSON.
            compute: makes the entries of the given places, in their order; must not ask the store for anything.
        """
        if self.limit <= 0:
            return [_on_cpu(tensors) for tensors in compute(list(range(len(keys))))]
        texts = [json.dumps(key, sort_keys=True) for key in keys]
        names = (hashlib.sha256(text.encode()).hexdigest() for text in texts)
        paths = [self.folder / kind / f"{name}.safetensors" for name in names]
        found = [_read(path, text) for path, text in zip(paths, texts, strict=True)]
        missing = [place for place, tensors in enumerate(found) if tensors is None]
        with contextlib.ExitStack() as locks:
            for path in sorted({paths[place] for place in missing}):  # all processes in the same order
                locks.enter_context(_lock(path))
            for place in missing:  # another process may have made it meanwhile
                found[place] = _read(paths[place], texts[place])
            missing = [place for place in missing if found[place] is None]
            for place, tensors in zip(missing, compute(missing) if missing else (), strict=True):
                found[place] = _on_cpu(tensors)
                self._write(paths[place], texts[place], found[place])
            if missing:
                self._trim(keep={paths[place] for place in missing})
        return found

    def _write(self, path: Path, key: str, tensors: Tensors) -> None:
        content = save(tensors, {"key": key, "checksum": _checksum(tensors)})
        if len(content) > self.limit:
            return
        try:
            with atomic_path(path) as temporary:
                temporary.write_bytes(content)
        except OSError as error:
            print(f"features are not kept in '{self.folder}' ({error}); the run goes on without")

    def _trim(self, keep: set[Path]) -> None:
        """Remove the entries that were not used for the longest time until the rest is within the limit."""
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
    """The store in the user's cache; BIOMED_DPT_CACHE_GB limits its size (default 20; 0 switches it off)."""
    text = os.environ.get(SIZE_VARIABLE, "") or DEFAULT_GB
    try:
        limit = int(float(text) * 1e9)
    except (ValueError, OverflowError) as error:
        raise InputError(f"{SIZE_VARIABLE} is '{text}'; it must be a number of gigabytes, 0 for no cache") from error
    return Store(cache_dir() / "features", limit)


def _on_cpu(tensors: Tensors) -> Tensors:
    return {name: value.detach().cpu().contiguous() for name, value in tensors.items()}


def _read(path: Path, key: str) -> Tensors | None:
    """An entry's tensors; None where it is not there. A damaged entry is named and counts as missing."""
    try:
        with safe_open(path, "pt") as file:
            about = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dictionary
    except FileNotFoundError:
        return None
    except (SafetensorError, OSError) as error:
        return _damaged(path, str(error))
    if about.get("key") != key:
        return _damaged(path, "it is of another key")
    if about.get("checksum") != _checksum(tensors):
        return _damaged(path, "its checksum does not fit")
    with contextlib.suppress(OSError):
        os.utime(path)  # marks it as used
    return tensors


def _damaged(path: Path, reason: str) -> None:
    print(f"kept features '{path}' are damaged ({reason}); they are computed again")


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
    """Hold the entry's lock; where none can be had (a read-only folder, say), go on without."""
    lock = FileLock(_lock_path(path))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            print("waiting for another run that computes the same features")
            lock.acquire()
    except (OSError, NotImplementedError):
        lock = None
    try:
        yield
    finally:
        if lock is not None:
            # Who waits for the lock looks for the entry first; at worst one that could not be kept is computed twice.
            _lock_path(path).unlink(missing_ok=True)
            lock.release()
