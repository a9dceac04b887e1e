"""Shows the progress of a sweep: a bar on a terminal, lines in a file."""

import sys
import time
from collections.abc import Callable
from datetime import timedelta

from tqdm import tqdm

from dassl.errors import printable
from runs.run import Run

SECONDS_BETWEEN_LINES = 30


class Progress:
    """Counts the runs that ended, and estimates the time that is left.

    Args:
        total: the number of runs to do.
        name: what a run is called.
    """

    def __init__(self, total: int, name: Callable[[Run], str] = str):
        self.total, self.ended, self.failures = total, 0, 0
        self.name = name
        self._started = self._printed = time.monotonic()
        self._bar = tqdm(total=total, desc="runs", unit="run", smoothing=0) if sys.stderr.isatty() else None

    def done(self, run: Run) -> None:
        self._count()

    def failed(self, run: Run, message: str) -> None:
        self.failures += 1
        self.note(f"failed: {self.name(run)}\n  {message}")
        self._count()

    def note(self, text: str) -> None:
        """Print a line without disturbing the bar; messages may have lines of other programs."""
        text = printable(text)
        if self._bar is not None:
            self._bar.write(text)
        else:
            print(text, flush=True)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()

    def _count(self) -> None:
        self.ended += 1
        if self._bar is not None:
            self._bar.set_postfix_str(f"{self.failures} failed" if self.failures else "")
            self._bar.update()
            return
        now = time.monotonic()
        if self.ended == self.total or now - self._printed >= SECONDS_BETWEEN_LINES:
            self._printed = now
            spent = now - self._started
            left = spent / self.ended * (self.total - self.ended)
            failed = f", {self.failures} failed" if self.failures else ""
            print(f"{self.ended}/{self.total} runs{failed}; {in_words(spent)} so far, about {in_words(left)} left",
                  flush=True)  # fmt: skip


def in_words(seconds: float) -> str:
    """A duration as h:mm:ss."""
    return str(timedelta(seconds=round(seconds)))
