"""Cases, the place in which one is carried out, and the verdict: refused with a message, accepted, or failed."""

import contextlib
import io
import resource
import signal
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

ACCEPT, REFUSE, EITHER = "accept", "refuse", ""  # what a case must lead to
SECONDS = 60  # after this time a case counts as hanging; it takes a fraction of a second
MEMORY = 6 << 30  # what a case may need beyond what the process has already
LONGEST_MESSAGE = 15  # lines


@dataclass(frozen=True)
class Case:
    """One input.

    Attributes:
        kind: the module of this package that carries the case out.
        what: the input, as values that JSON can hold.
        must: ACCEPT, REFUSE or EITHER.
        names: an error message holds one of these words; empty where the module knows what the input is called.
    """

    kind: str
    what: dict[str, Any]
    must: str = EITHER
    names: tuple[str, ...] = ()


@dataclass
class Outcome:
    """What happened: exit code, printed text, the traceback if there was one, and what else is wrong."""

    code: int | None = None
    out: str = ""
    err: str = ""
    raised: str = ""
    wrong: list[str] = field(default_factory=list)

    @property
    def message(self) -> str:
        """The error message, without the warnings and the usage before it."""
        return self.err[self.err.find("error:") :] if "error:" in self.err else self.err


@dataclass(frozen=True)
class Verdict:
    """How a case ended ("accepted", "refused" or "failed") and, if it failed, why."""

    ending: str
    why: str = ""


class Hang(BaseException):
    """Raised in a case that takes too long; not an Exception, so that no handler of errors swallows it."""


def call(work: Callable[[], int | None]) -> Outcome:
    """Run a program in this process: its exit code, what it prints, and whether it raises an exception or hangs."""
    outcome = Outcome()
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")  # strict, like the standard output of a terminal
    err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="backslashreplace")
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            with _alarm(), _memory_limit():
                outcome.code = work() or 0
        except SystemExit as stopped:
            outcome.code = stopped.code if isinstance(stopped.code, int) else 1
        except Hang:
            outcome.raised = f"hangs: more than {SECONDS} s\n{traceback.format_exc(limit=-8)}"
        except Exception as error:
            outcome.raised = f"{type(error).__name__}: {error}\n{traceback.format_exc(limit=-8)}"
    outcome.out, outcome.err = (_text(stream) for stream in (out, err))
    return outcome


def judge(case: Case, outcome: Outcome, wrong: list[str]) -> Verdict:
    """The verdict on a case from its outcome and from what is wrong in the folders around it."""
    faults = _faults(case, outcome) + outcome.wrong + wrong
    if faults:
        return Verdict("failed", "; ".join(faults))
    return Verdict("refused" if outcome.code == 2 else "accepted")


def _faults(case: Case, outcome: Outcome) -> list[str]:
    if outcome.raised:
        return [outcome.raised]
    if outcome.code == 0:
        return ["was accepted"] if case.must == REFUSE else []
    if outcome.code != 2:
        return [f"exit code {outcome.code}"]
    faults = [f"was refused: {outcome.message}"] if case.must == ACCEPT else []
    lines = outcome.message.strip().splitlines()
    if len(lines) > LONGEST_MESSAGE or len(outcome.message) > 200 * LONGEST_MESSAGE:
        faults.append(f"a message of {len(lines)} lines and {len(outcome.message)} characters")
    if "Traceback" in outcome.err:
        faults.append(f"a traceback in the message: {outcome.message}")
    if not lines:
        faults.append("no message")
    if case.names and not any(name in outcome.message for name in case.names):
        faults.append(f"the message names none of {case.names}: {outcome.message}")
    return faults


def _text(stream: io.TextIOWrapper) -> str:
    stream.flush()
    return stream.buffer.getvalue().decode(errors="replace")


@contextlib.contextmanager
def _alarm() -> Iterator[None]:
    """Raise Hang after SECONDS, and again every second: threads that are waited for may swallow the first one."""

    def ring(*_: Any) -> None:
        raise Hang

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, SECONDS, 1)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def _memory_limit() -> Iterator[None]:
    """Bound the memory of a case, so that a bomb ends the case and not the machine; CUDA reserves more than that."""
    if torch.cuda.is_available() or not Path("/proc/self/statm").is_file():
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_AS)
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + MEMORY, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
