"""Who works on a run: a lock beside its folder, held while it is worked on, free at once when its holder dies."""

import contextlib
import errno
import os
from pathlib import Path

from filelock import FileLock, Timeout

from sweep.run import is_complete

# What file systems answer that have no locks (Lustre without the mount option flock, NFS without its lock service).
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}


class ClaimedError(Exception):
    """Another process works on the run."""


def lock_path(folder: Path) -> Path:
    """Where a run's lock lies: beside its folder, which may be deleted and made anew while the lock is held."""
    return folder.parent / f".{folder.name}.lock"


class Claim:
    """The right to work on a run's folder, from its making until `release`.

    The lock is the kernel's, so that of a killed process is free at once. Over NFS that holds where the server's lock
    service runs. On a file system without locks the claim is granted, and two sweeps over one folder are not kept
    apart.

    Args:
        folder: the run's folder.
        wait: wait for a process that works on the run.

    Raises:
        ClaimedError: another process works on the run, and `wait` is off.
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
                    raise ClaimedError(f"another process works on '{folder}'") from None
                print(f"waiting for another process that works on '{folder}'")
                self._lock.acquire()
        except (OSError, NotImplementedError) as error:
            if not _means_no_locks(error):
                raise
            print(f"no locks on the file system of '{folder}' ({error}): let no second process work on this run")
            self._lock = None
        _remove_temporaries(folder)

    def release(self) -> None:
        """Let others work on the run; the lock file of a complete run is removed.

        One of an unfinished run stays: who waits has it open and would hold a lock that nobody else sees. Of a complete
        run nobody wants the lock, whoever gets it looks for the marker first.
        """
        if self._lock is not None:
            if is_complete(self.folder):
                with contextlib.suppress(OSError):
                    lock_path(self.folder).unlink(missing_ok=True)
            self._lock.release()
            self._lock = None


def is_claimed(folder: Path) -> bool:
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
    """Whether the file system has locks that a folder is on, or will be; True also where nothing can be written."""
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
    """Remove what a killed process was writing (`dassl.utils.atomic_path`); under the lock nobody else writes."""
    for path in folder.glob(".*.*"):
        with contextlib.suppress(OSError):
            path.unlink()
