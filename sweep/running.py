"""python -m sweep run: makes the plan, checks it, and has a launcher carry it out."""

import argparse
import contextlib
import gc
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence

from tabulate import tabulate

from sweep.check import Configured, check, refuse_drift
from sweep.claims import has_locks
from sweep.estimate import estimate
from sweep.launchers import LAUNCHERS, launch
from sweep.plan import Axes, make_plan
from sweep.progress import Progress, in_words
from sweep.run import Kind, Run, Settings, is_complete


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the words of `run` that are not those of a grid."""
    add = parser.add_argument
    add("--dry-run", action="store_true", help="say what would run, what is complete, and how long it would take")
    add("--launcher", default="local", choices=LAUNCHERS, help="this machine (default), a Ray cluster, or Slurm")
    add("--slots", type=int, default=0, help="runs at a time (default: one per GPU, or by the number of cores)")
    add("--per-gpu", type=int, default=1, metavar="N", help="runs that share a GPU (default: 1)")
    add("--stack", type=int, default=0, help="runs trained side by side in a process; 1 for none (default: by device)")
    add("--cpus", type=int, default=1, help="ray, slurm: CPU cores per process (default: 1)")
    add("--gpus", type=float, default=None, help="ray, slurm: GPUs per process, also a part of one (ray only)")
    add("--address", default="auto", help="ray: of the cluster (default: auto)")
    add("--cluster", default="slurm", choices=("slurm", "local", "debug"), help="slurm: local and debug are for tests")
    add("--slurm", action="append", default=[], metavar="KEY=VALUE", help="slurm: partition=gpu, time=120, mem=16GB …")
    add("--slurm-parallel", type=int, default=16, metavar="N", help="slurm: jobs at a time (default: 16)")


def run(args: argparse.Namespace, grids: Sequence[Axes], print_tables: Callable[[], None]) -> int:
    """Carry out a sweep; returns 1 if runs failed.

    Args:
        args: output, root, published, opts, and what `add_arguments` adds.
        grids: the runs, a grid per protocol.
        print_tables: prints the tables of the grids.
    """
    started = time.monotonic()
    settings = Settings(args.output, args.root, args.published, tuple(args.opts))
    plan = [run for axes in grids for run in make_plan(*axes)]
    configured = check(plan, settings)
    complete, todo = [], []
    for run in plan:
        (complete if is_complete(run.path(settings.output)) else todo).append(run)
    refuse_drift(complete, settings, configured)
    print(f"{len(plan)} runs, {len(complete)} complete already, {len(todo)} to do", flush=True)
    if args.dry_run:
        print(forecast(complete, todo, settings, configured))
        return 0
    failures = []
    if todo:
        if not has_locks(args.output):
            print(f"no locks on the file system of '{args.output}': let no second sweep use it at the same time")
        gc.enable()  # from here on it takes hours
        progress = Progress(len(todo))
        with _ended_by_sigterm(), contextlib.closing(progress):
            failures = launch(args, plan, todo, settings, progress)
    print_tables()
    print(f"\ntook {in_words(time.monotonic() - started)}; every run's files are in '{args.output}'")
    if failures:
        print(f"{len(failures)} runs failed; the same command runs them again", file=sys.stderr)
    return 1 if failures else 0


def forecast(
    complete: Sequence[Run], todo: Sequence[Run], settings: Settings, configured: dict[Kind, Configured]
) -> str:
    """What would run, one line per kind of runs, and how long one run after the other would take."""
    seconds = estimate(todo, complete, settings, configured)
    rows, unknown = [], set()
    kinds: dict[Kind, list[Run]] = {}
    for run in (*complete, *todo):
        kinds.setdefault(run.kind, []).append(run)
    for kind, runs in sorted(kinds.items()):
        left = [run for run in runs if run in seconds]
        known = [seconds[run] for run in left]
        if None in known:
            unknown.add(kind.method)
        took = "?" if None in known else in_words(sum(known))
        what = f"K {_numbers(run.shots for run in left)}; seeds {_numbers(run.seed for run in left)}" if left else ""
        rows.append([*kind, len(runs), len(runs) - len(left), len(left), what, took if left else ""])
    header = ["method", "data set", "protocol", "runs", "complete", "to do", "of these", "time"]
    table = tabulate(rows, header, tablefmt="github", disable_numparse=True)
    lines = [table, ""]
    total = sum(value for value in seconds.values() if value is not None)
    if total:
        least = "at least " if unknown else ""
        lines.append(f"one after the other {least}{in_words(total)}, by the times of finished runs")
    if unknown:
        lines.append(f"no finished run to go by: {', '.join(sorted(unknown))}")
    return "\n".join(lines)


def _numbers(values) -> str:
    return " ".join(map(str, sorted(set(values))))


@contextlib.contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """SIGTERM does what Ctrl-C does: workers are ended, and the exit code says so."""

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
