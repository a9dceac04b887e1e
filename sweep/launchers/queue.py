"""What is left of a plan: what to start next, what was done, what failed, what others work on."""

import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sweep.claims import is_claimed
from sweep.launchers.work import CLAIMED, DONE, FAILED, REFUSED, Outcome
from sweep.progress import Progress
from sweep.run import Run, is_complete

ATTEMPTS = 2
LOG_LINES = 6
POLL_SECONDS = 0.5


# Of Python, of torch on GPUs and on CPUs, and of what is said of a process that the kernel killed.
_OUT_OF_MEMORY = ("MemoryError", "out of memory", "allocate memory")


@dataclass(frozen=True)
class Task:
    """Runs to be carried out side by side.

    Attributes:
        runs: the runs.
        attempt: the how-manyth time they are tried.
        alone: they ran out of memory, and are not to share it with other processes.
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
    """Hands out the groups of a plan and takes what became of them.

    A run that failed, or whose process died, is tried once more, alone, and after running out of memory with no other
    process beside it; one with bad input is not, but its neighbours are. A run that another process works on is looked
    at again when nothing else is left.

    Args:
        groups: runs that can be trained side by side.
        output: root of all run folders.
        progress: is told of every run that ended.
    """

    def __init__(self, groups: Iterable[Iterable[Run]], output: Path, progress: Progress):
        self.output, self.progress = output, progress
        self.pending = deque(Task(tuple(group)) for group in groups)
        self.alone: deque[Task] = deque()
        self.claimed: list[Task] = []
        self.under_way = 0
        self.failures: list[Failure] = []
        self._looked = 0.0

    @property
    def finished(self) -> bool:
        return not (self.pending or self.alone or self.claimed or self.under_way)

    def take(self, crowded: bool = False) -> Task | None:
        """The next task; None where there is none at the moment.

        Args:
            crowded: others use the memory that the task would use; what ran out of it before is kept back.
        """
        if not self.pending:
            self._look_at_claimed()
        source = self.alone if self.alone and not crowded else self.pending
        if not source:
            return None
        self.under_way += 1
        return source.popleft()

    def settle(self, task: Task, outcomes: Iterable[Outcome]) -> None:
        """Take what became of a task."""
        self.under_way -= 1
        for outcome in outcomes:
            if outcome.state == DONE or is_complete(outcome.run.folder(self.output)):
                self.progress.done(outcome.run)
            elif outcome.state == CLAIMED:
                self.claimed.append(Task((outcome.run,), task.attempt))
            elif outcome.state == REFUSED and len(task.runs) > 1:
                self.pending.append(Task((outcome.run,), task.attempt))
            elif outcome.state == FAILED and task.attempt < ATTEMPTS:
                self.progress.note(f"trying again: {outcome.run}: {outcome.message}")
                alone = any(words in outcome.message for words in _OUT_OF_MEMORY)
                (self.alone if alone else self.pending).append(Task((outcome.run,), task.attempt + 1, alone))
            else:
                self._fail(outcome)

    def lost(self, task: Task, message: str) -> None:
        """Take that the process which worked on a task died; what it completed is complete."""
        self.settle(task, [Outcome(run, FAILED, message) for run in task.runs])

    def _fail(self, outcome: Outcome) -> None:
        message = outcome.message
        log = outcome.run.folder(self.output) / "log.txt"
        if outcome.state == FAILED and log.is_file():
            message += f"\n  the last lines of '{log}':\n" + last_lines(log)
        self.failures.append(Failure(outcome.run, message))
        self.progress.failed(outcome.run, message)

    def _look_at_claimed(self) -> None:
        """Put what is no longer worked on back into the queue; what was completed meanwhile is done."""
        if not self.claimed or time.monotonic() - self._looked < POLL_SECONDS:
            return
        self._looked = time.monotonic()
        tasks, self.claimed = self.claimed, []
        for task in tasks:
            (run,) = task.runs
            folder = run.folder(self.output)
            if is_complete(folder):
                self.progress.done(run)
            elif is_claimed(folder):
                self.claimed.append(task)
            else:
                self.pending.append(task)


def last_lines(path: Path, count: int = LOG_LINES) -> str:
    """The last lines of a text file that are not empty, indented; "" where it cannot be read."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 16_384))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    return "\n".join(f"    {line}" for line in [line for line in lines if line.strip()][-count:])
