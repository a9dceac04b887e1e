"""Carries out a plan on this machine in worker processes: one per GPU, or a few on the CPU."""

import argparse
import contextlib
import multiprocessing
import os
import signal
import tempfile
from collections.abc import Sequence
from multiprocessing.connection import wait
from pathlib import Path

from runs.run import Run
from runs.scratch import use_own_folder
from sweep.launchers.attempt import FAILED
from sweep.launchers.queue import POLL_SECONDS, Failure, Queue, Task, last_lines
from sweep.launchers.worker import Place, serve
from sweep.options import Options
from sweep.plan import stacks
from sweep.processes import context
from sweep.progress import Progress

# What a worker needs before its first run. The server that workers are forked from imports it once; none of it starts
# threads or uses a GPU.
PRELOAD = ["configs.build", "runs.execute", "runs.plain", "dassl.engine", "sweep.launchers.worker"]
PRELOAD += ["open_clip", "transformers.models.bert.modeling_bert", "tokenizers"]
PRELOAD += ["sklearn.metrics", "torchmetrics.functional.classification"]
SECONDS_TO_END = 5


def launch(
    args: argparse.Namespace, plan: Sequence[Run], todo: Sequence[Run], options: Options, progress: Progress
) -> list[Failure]:
    """Carry out the runs that are to do on this machine; see `sweep.launchers.launch`."""
    on_gpu = bool(gpu_count())
    queue = Queue(stacks(todo, args.stack, on_gpu), options.output, progress)
    execute(queue, options, places(len(stacks(plan, args.stack, on_gpu)), args.slots, args.per_gpu))
    return queue.failures


def places(stacks: int, slots: int = 0, per_gpu: int = 1) -> list[Place]:
    """The places of the worker processes: a GPU each, or an equal share of the cores.

    OMP_NUM_THREADS, where it is set, limits the threads of each.

    Args:
        stacks: the number of stacks in the whole plan, complete ones included: the number of threads can change the
            last digits of a run's results, so it must not depend on where a sweep was interrupted.
        slots: worker processes; 0 for `per_gpu` on each GPU, or one per two CPU cores, and at least two on two cores.
        per_gpu: worker processes that share a GPU.
    """
    gpus, cores = gpu_count(), os.cpu_count() or 1
    count = max(1, min(slots or gpus * per_gpu or max(min(2, cores), cores // 2), stacks))
    threads = min(max(1, cores // count), int(os.environ.get("OMP_NUM_THREADS") or cores))
    return [Place(str(k % gpus) if gpus else "", threads) for k in range(count)]


def gpu_count() -> int:
    import torch

    return torch.cuda.device_count()


def execute(queue: Queue, options: Options, places: Sequence[Place]) -> None:
    """Carry out a queue; the workers end with this function, also when an exception leaves it."""
    use_own_folder()
    with tempfile.TemporaryDirectory(prefix="sweep-") as scratch:
        crew = [_Worker(place, options, Path(scratch) / f"worker{k}.txt") for k, place in enumerate(places)]
        try:
            while not queue.finished:
                for worker in crew:
                    if worker.task is None and (task := _next(queue, worker, crew)) is not None:
                        worker.start(task)
                busy = [worker for worker in crew if worker.task is not None]
                events = wait([event for worker in busy for event in worker.events], POLL_SECONDS)
                for worker in busy:
                    if any(event in events for event in worker.events):
                        worker.finish(queue)
        finally:
            for worker in crew:
                worker.stop(at_once=True)


def _next(queue: Queue, worker: "_Worker", crew: Sequence["_Worker"]) -> Task | None:
    """The next task for an idle worker; a task that ran out of memory gets a GPU, or the machine, for itself."""
    beside = [other.task for other in crew if other.task is not None and other.place.gpu == worker.place.gpu]
    if any(task.alone for task in beside):
        return None
    return queue.take(crowded=bool(beside))


class _Worker:
    """A worker process at a place; the process is replaced after it died or failed."""

    def __init__(self, place: Place, options: Options, errors: Path):
        self.place, self.options, self.errors = place, options, errors
        self.process = self.connection = self.task = None

    @property
    def events(self) -> list:
        return [self.connection, self.process.sentinel]

    def start(self, task: Task) -> None:
        """Give the process a task, after starting one where there is none."""
        if self.process is not None and not self.process.is_alive():
            self.stop()
        if self.process is None:
            chosen = context(PRELOAD)
            connection, theirs = chosen.Pipe()
            arguments = (theirs, self.options, self.place, str(self.errors), dict(os.environ))
            process = chosen.Process(target=serve, args=(*arguments, multiprocessing.get_start_method()))
            process.start()
            # Set only now: `stop` must not see a process that an interrupt kept from starting. One that was forked
            # ends by itself when its connection closes.
            self.process, self.connection = process, connection
            theirs.close()
        self.task = task
        with contextlib.suppress(OSError):  # the sentinel tells of a process that died meanwhile
            self.connection.send(task.runs)

    def finish(self, queue: Queue) -> None:
        """Report the outcomes of the task to the queue."""
        task, self.task = self.task, None
        try:
            outcomes = self.connection.recv() if self.connection.poll() else None
        except (EOFError, OSError):
            outcomes = None
        if outcomes is None:
            self.process.join(SECONDS_TO_END)
            queue.lost(task, _cause_of_death(self.process.exitcode, self.errors))
            self.stop()
            return
        if any(outcome.state == FAILED for outcome in outcomes):
            self.stop()  # its memory or GPU may not be in a usable state
        queue.settle(task, outcomes)

    def stop(self, at_once: bool = False) -> None:
        """End the process, if there is one; between tasks it ends by itself when its connection closes."""
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
    """Why a process ended without an answer, as far as it is known."""
    how = f"exit code {code}"
    if code is not None and code < 0:
        with contextlib.suppress(ValueError):
            how = signal.Signals(-code).name
        how += ", out of memory?" if -code == signal.SIGKILL else ""
    said = last_lines(errors)
    return f"its process died ({how})" + (f"; its last output:\n{said}" if said else "")
