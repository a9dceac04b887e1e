"""Faults for the workers of a sweep, and eyes for its processes."""

import contextlib
import json
import multiprocessing
import multiprocessing.util
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

from runs.folder import CONFIG_FILE, MARKER
from runs.results import read_results
from sweep.launchers import worker
from sweep.launchers.local import PRELOAD
from sweep.processes import context

FOLDER = "TEST_FAULTS"  # names a folder with files <method>-<seed>, which hold the name of a fault
SIGNALS = {"sweep": signal.SIGKILL, "interrupted sweep": signal.SIGINT}  # to the sweep, by victim
DEATHS = "TEST_DEATHS"  # names a file with a line [victim, number of events] per death; they are recorded beside it


def kill() -> None:
    """What the kernel does to a process when memory runs out."""
    os.kill(os.getpid(), signal.SIGKILL)


def memory() -> None:
    """Use up the memory that the process may have."""
    resource.setrlimit(resource.RLIMIT_AS, (1 << 34, resource.RLIM_INFINITY))
    bytearray(1 << 35)


def serve(*words) -> None:
    """A worker in which the runs that a file names meet a fault when their training starts."""
    from runs import execute

    plain = execute.train

    def faulty(jobs):
        for job in jobs:
            path = Path(os.environ[FOLDER]) / f"{job.run.method}-{job.run.seed}"
            if path.is_file():
                {"kill": kill, "memory": memory}[path.read_text()]()
        plain(jobs)

    execute.train = faulty
    worker.serve(*words)


def serve_until_death(connection, settings, *words) -> None:
    """A worker that ends itself or its sweep after the number of events in the next line of the file of deaths.

    An event is a training step, or the moment before a finished file of a run (other than its config.yaml) takes its
    place. Events are counted, not timed, so that a death happens at the same place on every machine. What is recorded
    of a death: victim, event, and how many runs were complete.
    """
    from torch.optim.optimizer import register_optimizer_step_post_hook

    path, replace = Path(os.environ[DEATHS]), os.replace
    deaths = path.read_text().splitlines()
    victim, events = json.loads(deaths[0]) if deaths else (None, 0)

    def count(event: str) -> None:
        nonlocal events
        events -= 1
        if victim is None or events:
            return
        path.write_text("\n".join(deaths[1:]))
        with open(path.with_name("deaths.jsonl"), "a") as file:
            file.write(json.dumps([victim, event, len(list(settings.output.rglob(MARKER)))]) + "\n")
        if victim in SIGNALS:
            os.kill(multiprocessing.parent_process().pid, SIGNALS[victim])
            signal.pause()  # the worker ends with its sweep
        kill()

    def count_and_replace(source, target, **more) -> None:
        if Path(target).is_relative_to(settings.output) and Path(target).name != CONFIG_FILE:
            count(Path(target).name)
        replace(source, target, **more)

    register_optimizer_step_post_hook(lambda *_: count("step"))
    os.replace = count_and_replace
    worker.serve(connection, settings, *words)


def children(pid: int) -> list[int]:
    """The processes that a process started and that live."""
    with contextlib.suppress(OSError):
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def workers(pid: int) -> list[int]:
    """The workers of a sweep: what the server that it started has forked."""
    return [worker for child in children(pid) for worker in children(child)]


def alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def fork(*words, said: Path, serve: Callable[..., None] = serve_until_death, server: bool = False) -> BaseProcess:
    """A sweep as a process that is forked, and forks its workers, where a new Python would import torch for seconds.

    Args:
        words: its arguments.
        said: the file for what it prints.
        serve: what its workers do.
        server: whether a server forks them, as in earnest; it is forked too.
    """
    arguments = ([*map(str, words)], str(said), serve, server, dict(os.environ))
    process = context(PRELOAD).Process(target=_sweep, args=arguments)
    process.start()
    return process


def _sweep(words: list[str], said: str, serve: Callable[..., None], server: bool, environment: dict[str, str]) -> None:
    from sweep.__main__ import main
    from sweep.launchers import local

    os.environ.clear()
    os.environ.update(environment)
    handle = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in processes that a shell put in the background
    local.serve = serve
    if server:
        multiprocessing.util.spawnv_passfds = _fork_python
    else:
        local.context = lambda _: multiprocessing.get_context("fork")
    sys.exit(main(["run", *words]))


def _fork_python(path: str, words: list[str], kept: list[int]) -> int:
    """In place of a new Python with the code in the last word: a fork that has only the kept files open."""
    if pid := os.fork():
        return pid
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        first = 3
        for handle in sorted(kept):
            os.closerange(first, handle)
            first = handle + 1
        os.closerange(first, os.sysconf("SC_OPEN_MAX"))
        exec(words[-1], {})
    finally:
        os._exit(0)


def wait_for(condition, seconds: float = 600):
    """Wait until a condition holds; returns what it gave."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "this did not happen in time"
        time.sleep(0.02)
    return found


def numbers(output: Path) -> dict[str, tuple]:
    """Metrics and losses of every complete run."""
    folders = [path.parent for path in output.rglob(MARKER)]
    results = {str(folder.relative_to(output)): read_results(folder) for folder in folders}
    return {name: (result["metrics"], result["loss_per_epoch"]) for name, result in results.items()}


def tables(output: Path) -> dict[str, list]:
    """The tables of the report, without those of time."""
    # Not imported above: every worker imports this module.
    from sweep.report.build import build_report
    from sweep.report.collect import Selection, collect
    from sweep.report.grid import grids

    found = collect(output)
    made = build_report(found, [(grid, []) for grid in grids(found, Selection())], "Report")
    return {table.title: table.rows for section in made.sections for table in section.tables if table.key != "cost"}


def left_behind(output: Path) -> list[Path]:
    """Locks and half-written files."""
    return [path for path in output.rglob(".*") if path.is_file()]
