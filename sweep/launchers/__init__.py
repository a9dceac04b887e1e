"""Ways to carry out a plan: on this machine, on a Ray cluster, through Slurm."""

import argparse
import importlib
from collections.abc import Sequence

from sweep.launchers.queue import Failure
from sweep.progress import Progress
from sweep.run import Run, Settings

LAUNCHERS = ("local", "ray", "slurm")


def launch(
    args: argparse.Namespace, plan: Sequence[Run], todo: Sequence[Run], settings: Settings, progress: Progress
) -> list[Failure]:
    """Carry out what is to do with the launcher that was asked for; returns the runs that failed.

    Args:
        args: the command line; the launcher's own words are read from it.
        plan: all runs.
        todo: those that are not complete.
        settings: what they have in common.
        progress: is told of every run that ended.

    Raises:
        InputError: the launcher needs a package that is not installed, or cannot reach its cluster.
    """
    # Ray and submitit are imported only where they are asked for.
    return importlib.import_module(f"sweep.launchers.{args.launcher}").launch(args, plan, todo, settings, progress)
