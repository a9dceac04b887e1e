"""Carries out a plan on this machine: worker processes of its own, one per GPU or a few on the CPU."""

import argparse
import contextlib
import multiprocessing
import os
import signal
import tempfile
from collections.abc import Sequence
from multiprocessing.connection import wait
from pathlib import Path

from sweep.launchers.queue import POLL_SECONDS, Failure, Queue, Task, last_lines
from sweep.launchers.work import FAILED
from sweep.launchers.worker import Place, serve
from sweep.plan import stacks
from sweep.processes import context
from sweep.progress import Progress
from sweep.run import Run, Settings

# What a worker needs before its first run. The server that workers are forked from imports it once; nothing of it
# starts threads or touches a GPU.
PRELOAD = ["train", "configs.build", "trainers.stack", "dassl.engine", "sweep.launchers.worker"]
PRELOAD += ["open_clip", "transformers", "tokenizers", "sklearn.metrics", "torchmetrics.functional.classification"]
SECONDS_TO_END = 5


def launch(
    args: argparse.Namespace, plan: Sequence[Run], todo: Sequence[Run], settings: Settings, progress: Progress
) -> list[Failure]:
    """Carry out what is to do on this machine; see `sweep.launchers.launch`."""
    on_gpu = bool(gpu_count())
    queue = Queue(stacks(todo, args.stack, on_gpu), settings.output, progress)
    execute(queue, settings, places(len(stacks(plan, args.stack, on_gpu)), args.slots, args.per_gpu))
    return queue.failures


def places(groups: int, slots: int = 0, per_gpu: int = 1) -> list[Place]:
    """A GPU, or a share of the cores (OMP_NUM_THREADS, where it is set, at most), for each process.

    Args:
        groups: how many groups the whole plan has. Not those that are left: how many threads a run has may change its
            last digits, and must not depend on where the sweep was interrupted.
        slots: processes; 0 for `per_gpu` for each GPU, or one per two CPU cores and at least two where there are two.
        per_gpu: processes that share a GPU.
    """
    gpus, cores = gpu_count(), os.cpu_count() or 1
    count = max(1, min(slots or gpus * per_gpu or max(min(2, cores), cores // 2), groups))
    threads = min(max(1, cores // count), int(os.environ.get("OMP_NUM_THREADS") or cores))
    return [Place(str(k % gpus) if gpus else "", threads) for k in range(count)]


def gpu_count() -> int:
    import torch

    return torch.cuda.device_count()


def execute(queue: Queue, settings: Settings, places: Sequence[Place]) -> None:
    """Carry out a queue to its end; ends its workers however it is left itself."""
    with tempfile.TemporaryDirectory(prefix="sweep-") as scratch:
        crew = [_Seat(place, settings, Path(scratch) / f"worker{k}.txt") for k, place in enumerate(places)]
        try:
            while not queue.finished:
                for seat in crew:
                    if seat.task is None and (task := _next(queue, seat, crew)) is not None:
                        seat.start(task)
                busy = [seat for seat in crew if seat.task is not None]
                events = wait([event for seat in busy for event in seat.events], POLL_SECONDS)
                for seat in busy:
                    if any(event in events for event in seat.events):
                        seat.finish(queue)
        finally:
            for seat in crew:
                seat.dismiss(at_once=True)


def _next(queue: Queue, seat: "_Seat", crew: Sequence["_Seat"]) -> Task | None:
    """The next task for an idle seat; what ran out of memory has a GPU, or without one the machine, for itself."""
    beside = [other.task for other in crew if other.task is not None and other.place.gpu == seat.place.gpu]
    if any(task.alone for task in beside):
        return None
    return queue.take(crowded=bool(beside))


class _Seat:
    """A place and the process that works there; a new one when the last has died or failed."""

    def __init__(self, place: Place, settings: Settings, errors: Path):
        self.place, self.settings, self.errors = place, settings, errors
        self.process = self.connection = self.task = None

    @property
    def events(self) -> list:
        return [self.connection, self.process.sentinel]

    def start(self, task: Task) -> None:
        """Give the worker a task, after hiring one where there is none."""
        if self.process is not None and not self.process.is_alive():
            self.dismiss()
        if self.process is None:
            chosen = context(PRELOAD)
            connection, theirs = chosen.Pipe()
            words = (theirs, self.settings, self.place, str(self.errors), dict(os.environ))
            process = chosen.Process(target=serve, args=(*words, multiprocessing.get_start_method()))
            process.start()
            # Only now: an interrupt leaves no half-started process to be ended; one that was forked ends by itself.
            self.process, self.connection = process, connection
            theirs.close()
        self.task = task
        with contextlib.suppress(OSError):  # a worker that died meanwhile is noticed by its sentinel
            self.connection.send(task.runs)

    def finish(self, queue: Queue) -> None:
        """Hand what became of the task to the queue."""
        task, self.task = self.task, None
        try:
            outcomes = self.connection.recv() if self.connection.poll() else None
        except (EOFError, OSError):
            outcomes = None
        if outcomes is None:
            self.process.join(SECONDS_TO_END)
            queue.lost(task, _cause_of_death(self.process.exitcode, self.errors))
            self.dismiss()
            return
        if any(outcome.state == FAILED for outcome in outcomes):
            self.dismiss()  # memory or a GPU may be in no state to go on with
        queue.settle(task, outcomes)

    def dismiss(self, at_once: bool = False) -> None:
        """End the worker, if there is one; between tasks it ends by itself when its connection closes."""
        if self.process is None:
            return
        self.connection.close()
        if at_once:
            self.process.terminate()
        self.process.join(SECONDS_TO_END)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.process = self.connection = None


def _cause_of_death(code: int | None, errors: Path) -> str:
    """What can be said of a process that ended without an answer."""
    how = f"exit code {code}"
    if code is not None and code < 0:
        with contextlib.suppress(ValueError):
            how = signal.Signals(-code).name
        how += ", out of memory?" if -code == signal.SIGKILL else ""
    said = last_lines(errors)
    return f"its process died ({how})" + (f"; it said last:\n{said}" if said else "")
