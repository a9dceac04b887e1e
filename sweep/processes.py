"""How processes are started."""

import multiprocessing
import sys
from collections.abc import Sequence


def context(preload: Sequence[str]) -> multiprocessing.context.BaseContext:
    """Processes forked from a small server that has imported modules once, where that is to be had.

    Never from this process itself, which may have threads.

    Args:
        preload: names of the modules; nothing of them may start threads or touch a GPU.
    """
    if not sys.platform.startswith("linux"):
        return multiprocessing.get_context("spawn")
    chosen = multiprocessing.get_context("forkserver")
    chosen.set_forkserver_preload(["__main__", *preload])
    return chosen
