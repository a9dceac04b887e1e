"""Launchers, which carry out a plan: on this machine, on a Ray cluster, through Slurm."""

import argparse
import importlib
from collections.abc import Sequence

from runs.run import Run
from sweep.launchers.queue import Failure
from sweep.options import Options
from sweep.progress import Progress

LAUNCHERS = ("local", "ray", "slurm")


def launch(
    args: argparse.Namespace, plan: Sequence[Run], todo: Sequence[Run], options: Options, progress: Progress
) -> list[Failure]:
    """Carry out the runs that are to do with the chosen launcher; returns the runs that failed.

    Args:
        args: the command line, with the launcher's own arguments.
        plan: all runs.
        todo: the runs that are not complete.
        options: what all runs share.
        progress: is told of every run that ended.

    Raises:
        InputError: the launcher needs a package that is not installed, or cannot reach its cluster.
    """
    # Ray and submitit are imported only where they are asked for.
    return importlib.import_module(f"sweep.launchers.{args.launcher}").launch(args, plan, todo, options, progress)
