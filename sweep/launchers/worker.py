"""A worker process of the local launcher: attempts one stack after another until its connection closes."""

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

from sweep.launchers.attempt import attempt
from sweep.options import Options

_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Place:
    """Where a worker computes.

    Attributes:
        gpu: the number of a GPU among the visible ones; "" for none.
        threads: the number of CPU threads.
    """

    gpu: str
    threads: int


def serve(
    connection: Connection,
    options: Options,
    place: Place,
    errors: str,
    environment: Mapping[str, str],
    start_method: str,
) -> None:
    """Work until the connection closes.

    Args:
        connection: receives tuples of runs, sends lists of outcomes.
        options: what all runs of the sweep share.
        place: the GPU or the cores to use.
        errors: a file for what native code writes to standard error before the process dies.
        environment: the environment variables of the sweep; those of the server that forked this process may be older.
        start_method: how this process starts its data-loading workers; the same way as the sweep's own process, since
            workers that import torch afresh start slowly.
    """
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the sweep ends its workers itself
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
            connection.send(attempt(connection.recv(), options))
            gc.collect()  # the models of the last stack are in reference cycles


def end_with_parent() -> None:
    """End this process as soon as its parent is gone, however that ended.

    The kernel's signal ends this process with the server that forked it, which ends with the sweep. The thread watches
    the sweep itself, and also works on systems without that signal.
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
