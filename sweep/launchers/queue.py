"""The queue of a plan: which task is next, which runs are done, failed, or locked by another process."""

import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from runs.folder import LOG_FILE, is_complete
from runs.lock import is_locked
from runs.run import Run
from sweep.launchers.attempt import DONE, FAILED, LOCKED, REFUSED, Outcome
from sweep.progress import Progress

ATTEMPTS = 2
LOG_LINES = 6
POLL_SECONDS = 0.5


# In messages of Python, of torch on GPUs and CPUs, and of this sweep when the kernel killed a process.
_OUT_OF_MEMORY = ("MemoryError", "out of memory", "allocate memory")


@dataclass(frozen=True)
class Task:
    """An attempt at the runs of a stack.

    Attributes:
        runs: the runs.
        attempt: the number of this attempt, from 1.
        alone: an earlier attempt ran out of memory, so no other process may use the same memory.
    """

    runs: tuple[Run, ...]
    attempt: int = 1
    alone: bool = False


@dataclass(frozen=True)
class Failure:
    """A run that did not complete, and why."""

    run: Run
    message: str


class Queue:
    """Hands out the stacks of a plan as tasks and takes their outcomes.

    A run that failed, or whose process died, gets a second attempt in a stack of its own, and without any other process
    beside it if it ran out of memory. A run with bad input gets none; the other runs of its stack do. A run that is
    locked by another process is looked at again when nothing else is left.

    Args:
        stacks: the runs of each stack.
        output: root of all run folders.
        progress: is told of every run that ended.
    """

    def __init__(self, stacks: Iterable[Iterable[Run]], output: Path, progress: Progress):
        self.output, self.progress = output, progress
        self.pending = deque(Task(tuple(stack)) for stack in stacks)
        self.alone: deque[Task] = deque()
        self.locked: list[Task] = []
        self.in_progress = 0
        self.failures: list[Failure] = []
        self._looked = 0.0

    @property
    def finished(self) -> bool:
        return not (self.pending or self.alone or self.locked or self.in_progress)

    def take(self, crowded: bool = False) -> Task | None:
        """The next task; None where there is none at the moment.

        Args:
            crowded: other processes use the same memory; a task that needs it alone is kept back.
        """
        if not self.pending:
            self._look_at_locked()
        source = self.alone if self.alone and not crowded else self.pending
        if not source:
            return None
        self.in_progress += 1
        return source.popleft()

    def settle(self, task: Task, outcomes: Iterable[Outcome]) -> None:
        """Take the outcomes of a task."""
        self.in_progress -= 1
        for outcome in outcomes:
            if outcome.state == DONE or is_complete(outcome.run.folder(self.output)):
                self.progress.done(outcome.run)
            elif outcome.state == LOCKED:
                self.locked.append(Task((outcome.run,), task.attempt))
            elif outcome.state == REFUSED and len(task.runs) > 1:
                self.pending.append(Task((outcome.run,), task.attempt))
            elif outcome.state == FAILED and task.attempt < ATTEMPTS:
                self.progress.note(f"trying again: {self.progress.name(outcome.run)}: {outcome.message}")
                alone = any(text in outcome.message for text in _OUT_OF_MEMORY)
                (self.alone if alone else self.pending).append(Task((outcome.run,), task.attempt + 1, alone))
            else:
                self._fail(outcome)

    def lost(self, task: Task, message: str) -> None:
        """Take that the process of a task died; the runs that it completed stay complete."""
        self.settle(task, [Outcome(run, FAILED, message) for run in task.runs])

    def _fail(self, outcome: Outcome) -> None:
        message = outcome.message
        log = outcome.run.folder(self.output) / LOG_FILE
        if outcome.state == FAILED and log.is_file():
            message += f"\n  the last lines of '{log}':\n" + last_lines(log)
        self.failures.append(Failure(outcome.run, message))
        self.progress.failed(outcome.run, message)

    def _look_at_locked(self) -> None:
        """Queue the runs that are no longer locked again, and count those that were completed meanwhile."""
        if not self.locked or time.monotonic() - self._looked < POLL_SECONDS:
            return
        self._looked = time.monotonic()
        tasks, self.locked = self.locked, []
        for task in tasks:
            (run,) = task.runs
            folder = run.folder(self.output)
            if is_complete(folder):
                self.progress.done(run)
            elif is_locked(folder):
                self.locked.append(task)
            else:
                self.pending.append(task)


def last_lines(path: Path, count: int = LOG_LINES) -> str:
    """The last non-empty lines of a text file, indented; "" where it cannot be read."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 16_384))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    return "\n".join(f"    {line}" for line in [line for line in lines if line.strip()][-count:])
