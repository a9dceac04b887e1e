"""A process of the local launcher: takes groups of runs until its connection closes, and ends with its parent."""

import contextlib
import gc
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection

from sweep.launchers.work import work_on
from sweep.run import Settings

_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Place:
    """Where a worker computes: a GPU by its number among the visible ones ("" for none), and how many threads."""

    gpu: str
    threads: int


def serve(
    connection: Connection,
    settings: Settings,
    place: Place,
    errors: str,
    environment: Mapping[str, str],
    start_method: str,
) -> None:
    """Work until the connection closes.

    Args:
        connection: gives tuples of runs, takes lists of outcomes.
        settings: of the sweep.
        place: the GPU or the cores to use.
        errors: a file for what native code says on standard error before it dies.
        environment: the sweep's environment; that of the process may be older.
        start_method: how the process starts loader workers: as the sweep itself would, a fresh interpreter that
            imports torch anew is seldom wanted.
    """
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the sweep ends its workers
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _silence(errors)
    os.environ.clear()
    os.environ.update(environment)
    if place.gpu:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        os.environ["CUDA_VISIBLE_DEVICES"] = visible.split(",")[int(place.gpu)] if visible else place.gpu
    multiprocessing.set_start_method(start_method, force=True)
    import torch

    torch.set_num_threads(place.threads)
    with contextlib.suppress(EOFError, OSError):
        while True:
            connection.send(work_on(connection.recv(), settings))
            gc.collect()  # models of the last group refer to themselves


def end_with_parent() -> None:
    """End this process at once when the one that asked for it is gone, however that ended.

    The kernel's signal serves the server that workers are forked from, which ends with the sweep; the watch serves the
    sweep itself, and systems without that signal.
    """
    if sys.platform.startswith("linux"):
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    parent = multiprocessing.parent_process()

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _silence(errors: str) -> None:
    handle = os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(handle, 2)
    os.close(handle)
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.close(nothing)
