"""How worker processes are started."""

import multiprocessing
import sys
from collections.abc import Sequence


def context(preload: Sequence[str]) -> multiprocessing.context.BaseContext:
    """A way to start processes: on Linux they are forked from a server that has imported the modules once.

    They are never forked from this process, which may have threads.

    Args:
        preload: names of the modules, none of which may start threads or use a GPU when it is imported.
    """
    if not sys.platform.startswith("linux"):
        return multiprocessing.get_context("spawn")
    chosen = multiprocessing.get_context("forkserver")
    chosen.set_forkserver_preload(["__main__", *preload])
    return chosen
