"""The lock of a run: at most one process works on a run at a time."""

import contextlib
import errno
import os
import time
from pathlib import Path

from filelock import FileLock, Timeout

from dassl.errors import OutputError
from runs.folder import is_complete, remove_unfinished

# The errors of file systems without locks (Lustre without the mount option flock, NFS without its lock service).
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}
_LOOKS, _SECONDS_BETWEEN_LOOKS = 20, 0.05  # for a lock file that is not there


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
        OutputError: the folder, or its lock, cannot be written.
    """

    def __init__(self, folder: Path, wait: bool = False):
        self.folder = folder
        self._lock: FileLock | None = FileLock(lock_path(folder), thread_local=False)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._acquire(self._lock, wait)
        except NotImplementedError as error:
            self._do_without(error)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise OutputError(folder, error) from error
            self._do_without(error)
        remove_unfinished(folder)

    def _acquire(self, lock: FileLock, wait: bool) -> None:
        for _ in range(_LOOKS):
            try:
                lock.acquire(blocking=False)
                return
            except Timeout:
                if lock_path(self.folder).exists():
                    break
            time.sleep(_SECONDS_BETWEEN_LOOKS)  # a process that completed the run has just deleted the file
        else:
            raise FileNotFoundError(errno.ENOENT, "its lock file cannot be made")
        if not wait:
            raise LockedError(f"another process works on '{self.folder}'")
        print(f"waiting for another process that works on '{self.folder}'")
        lock.acquire()

    def _do_without(self, error: Exception) -> None:
        print(f"no locks on the file system of '{self.folder}' ({error}): let no second process work on this run")
        self._lock = None

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
        with FileLock(path, blocking=False):
            path.unlink()
    except Timeout:  # no file can be made here
        return True
    except (OSError, NotImplementedError) as error:
        path.unlink(missing_ok=True)
        return not _means_no_locks(error)
    return True


def _means_no_locks(error: OSError | NotImplementedError) -> bool:
    return isinstance(error, NotImplementedError) or error.errno in _NO_LOCKS
