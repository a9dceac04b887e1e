"""The lock of a run: at most one process works on a run at a time."""

import contextlib
import errno
import os
from pathlib import Path

from filelock import FileLock, Timeout

from runs.folder import is_complete

# The errors of file systems without locks (Lustre without the mount option flock, NFS without its lock service).
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}


class LockedError(Exception):
    """Another process works on the run."""


def lock_path(folder: Path) -> Path:
    """The run's lock file: beside its folder, which may be deleted and made again while the lock is held."""
    return folder.parent / f".{folder.name}.lock"


class RunLock:
    """The lock of a run's folder, held from construction until `release`.

    The kernel holds the lock, and frees that of a killed process at once. Over NFS this needs the server's lock
    service. On a file system without locks the run goes on without one, and nothing keeps a second process away.

    Args:
        folder: the run's folder.
        wait: wait while another process works on the run.

    Raises:
        LockedError: another process works on the run, and `wait` is off.
    """

    def __init__(self, folder: Path, wait: bool = False):
        self.folder = folder
        folder.parent.mkdir(parents=True, exist_ok=True)
        self._lock: FileLock | None = FileLock(lock_path(folder), thread_local=False)
        try:
            try:
                self._lock.acquire(blocking=False)
            except Timeout:
                if not wait:
                    raise LockedError(f"another process works on '{folder}'") from None
                print(f"waiting for another process that works on '{folder}'")
                self._lock.acquire()
        except (OSError, NotImplementedError) as error:
            if not _means_no_locks(error):
                raise
            print(f"no locks on the file system of '{folder}' ({error}): let no second process work on this run")
            self._lock = None
        _remove_temporaries(folder)

    def release(self) -> None:
        """Let others work on the run; the lock file of a complete run is deleted.

        The lock file of an unfinished run stays: a waiting process has it open, and would get the lock of a deleted
        file that no other process sees. Whoever gets the lock of a complete run finds the marker and leaves.
        """
        if self._lock is not None:
            if is_complete(self.folder):
                with contextlib.suppress(OSError):
                    lock_path(self.folder).unlink(missing_ok=True)
            self._lock.release()
            self._lock = None


def is_locked(folder: Path) -> bool:
    """Whether another process works on the run."""
    if not lock_path(folder).is_file():
        return False
    lock = FileLock(lock_path(folder), thread_local=False)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return True
    except (OSError, NotImplementedError):
        return False
    lock.release()
    return False


def has_locks(folder: Path) -> bool:
    """Whether the file system of a folder, which need not exist yet, has locks; True where nothing can be written."""
    there = next(path for path in (folder, *folder.resolve().parents) if path.is_dir())
    path = there / f".{os.getpid()}.lock"
    try:
        with FileLock(path):
            path.unlink()
    except (OSError, NotImplementedError) as error:
        path.unlink(missing_ok=True)
        return not _means_no_locks(error)
    return True


def _means_no_locks(error: OSError | NotImplementedError) -> bool:
    return isinstance(error, NotImplementedError) or error.errno in _NO_LOCKS


def _remove_temporaries(folder: Path) -> None:
    """Delete what a killed process was writing (`dassl.utils.atomic_path`); the lock keeps other writers away."""
    for path in folder.glob(".*.*"):
        if path.suffix != ".lock":  # that of a run in a folder of this one, such as a fold's
            with contextlib.suppress(OSError):
                path.unlink()
