"""The temporary folder of a process and of those that it starts. A later one removes that of one that was killed."""

import contextlib
import os
import shutil
import stat
import tempfile
import time
from functools import cache
from multiprocessing.util import Finalize
from pathlib import Path

from filelock import FileLock, Timeout

from dassl.errors import InputError

PREFIX = "biomed-dpt-"
LOCK, NEW = ".in-use.lock", ".in-use.lock.new"
ABANDONED_SECONDS = 3600  # after which a folder without a lock file is not one that is being made


@cache
def use_own_folder() -> Path:
    """Make a temporary folder for this process and all that it starts, and remove those of killed processes.

    Functions for temporary files then use it, of libraries too, such as those for data-loading processes. It is removed
    when this process ends. Where the process is killed, the lock on a file in the folder is free from then on.

    Raises:
        InputError: no folder can be made.
    """
    try:
        parent = Path(tempfile.gettempdir())
        if (parent / LOCK).is_file():  # of the sweep that started this process
            return parent
        remove_abandoned(parent)
        folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        # The lock file gets its name when it is locked: it is never seen without its owner's lock.
        lock = FileLock(folder / NEW, thread_local=False)
        lock.acquire()
        (folder / NEW).rename(folder / LOCK)
    except (OSError, NotImplementedError) as error:
        raise InputError(f"no temporary folder can be made ({error}); name one that can with TMPDIR") from error
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
    # After the folder of multiprocessing, which is in it; not in forked processes.
    Finalize(None, _remove, (folder, lock), exitpriority=-200)
    return folder


def remove_abandoned(parent: Path) -> None:
    """Remove the temporary folders of this user whose owners are gone."""
    for folder in parent.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError, NotImplementedError, Timeout):
            facts = folder.lstat()
            if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.getuid():
                continue
            if (folder / LOCK).is_file():
                with FileLock(folder / LOCK, blocking=False):
                    shutil.rmtree(folder, ignore_errors=True)
            elif time.time() - facts.st_mtime > ABANDONED_SECONDS:
                (folder / NEW).unlink(missing_ok=True)
                folder.rmdir()  # refused where it holds anything


def _remove(folder: Path, lock: FileLock) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    lock.release()
