"""The command `python -m sweep run`: makes the plan, checks it, and has a launcher carry it out."""

import argparse
import contextlib
import gc
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from dassl.errors import printable
from runs.folder import is_complete
from runs.lock import has_locks
from runs.run import Run
from sweep.arguments import at_least
from sweep.check import check, refuse_other_runs, refuse_unwritable
from sweep.estimate import forecast
from sweep.launchers import LAUNCHERS, launch
from sweep.options import Options
from sweep.plan import Axes, make_plan, name_of
from sweep.progress import Progress, in_words


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say how the runs are carried out."""
    add = parser.add_argument
    add("--dry-run", action="store_true", help="only show what would run, what is complete, and how long it would take")
    add("--launcher", default="local", choices=LAUNCHERS, help="this machine (default), a Ray cluster, or Slurm")
    add(
        "--slots",
        type=at_least(0),
        default=0,
        help="worker processes (default: one per GPU, or by the number of cores)",
    )
    add("--per-gpu", type=at_least(1), default=1, metavar="N", help="worker processes per GPU (default: 1)")
    add(
        "--stack",
        type=at_least(0),
        default=0,
        help="most runs trained in one step; 1 trains each alone (default: by device)",
    )
    add("--cpus", type=at_least(1), default=1, help="ray, slurm: CPU cores per process (default: 1)")
    add("--gpus", type=float, default=None, help="ray, slurm: GPUs per process; ray also takes a fraction")
    add("--address", default="auto", help="ray: address of the cluster (default: auto)")
    add("--cluster", default="slurm", choices=("slurm", "local", "debug"), help="slurm: local and debug are for tests")
    add("--slurm", action="append", default=[], metavar="KEY=VALUE", help="slurm: partition=gpu, time=120, mem=16GB …")
    add("--slurm-parallel", type=at_least(1), default=16, metavar="N", help="slurm: most jobs at a time (default: 16)")


def run(args: argparse.Namespace, grids: Sequence[Axes], options: Options, print_tables: Callable[[], None]) -> int:
    """Carry out a sweep; returns 1 if runs failed.

    Args:
        args: what `add_arguments` adds.
        grids: the runs, a grid per protocol.
        options: what all runs share.
        print_tables: prints the tables of the grids.
    """
    started = time.monotonic()
    plan = [run for axes in grids for run in make_plan(*axes)]
    configured = check(plan, options)
    complete: list[Run] = []
    todo: list[Run] = []
    for run in plan:
        (complete if is_complete(run.path(options.output)) else todo).append(run)
    damaged = refuse_other_runs(complete, options, configured)
    complete = [run for run in complete if run not in damaged]
    left_out = f", {len(damaged)} damaged and left out" if damaged else ""
    print(f"{len(plan)} runs, {len(complete)} complete already, {len(todo)} to do{left_out}", flush=True)
    for error in damaged.values():
        print(printable(f"damaged: {error}", keep=""), flush=True)
    if args.dry_run:
        print(forecast(complete, todo, options, configured))
        return 0
    failures = []
    if todo:
        for axes in grids:
            refuse_unwritable(options.output / axes.protocol)
        if not has_locks(options.output):
            print(f"no locks on the file system of '{options.output}': let no second sweep use it at the same time")
        gc.enable()  # from here on it may take hours
        progress = Progress(len(todo), partial(name_of, grids=grids))
        with _ended_by_sigterm(), contextlib.closing(progress):
            failures = launch(args, plan, todo, options, progress)
    print_tables()
    print(f"\ntook {in_words(time.monotonic() - started)}; every run's files are in '{options.output}'")
    if failures:
        print(f"{len(failures)} runs failed; the same command runs them again", file=sys.stderr)
    return 1 if failures or damaged else 0


@contextlib.contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """SIGTERM has the effect of Ctrl-C: the workers end, and the exit code is 130."""

    def interrupt(*_) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
