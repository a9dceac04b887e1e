"""One attempt at the runs of a stack, in the process that was given them; torch is imported when it begins."""

import contextlib
import os
import traceback
from collections.abc import Sequence
from dataclasses import dataclass

from dassl.errors import InputError
from runs.folder import LOG_FILE, is_complete
from runs.run import Run
from sweep.options import Options

DONE, LOCKED, REFUSED, FAILED = "done", "locked", "refused", "failed"


@dataclass(frozen=True)
class Outcome:
    """The outcome of an attempt at a run.

    Attributes:
        run: the run.
        state: done; locked (another process works on it); refused (its input is bad, and another attempt would not
            help); failed (anything else).
        message: what was wrong.
    """

    run: Run
    state: str
    message: str = ""


def attempt(runs: Sequence[Run], options: Options) -> list[Outcome]:
    """Carry out runs in one stack in this process; an error of a run becomes an outcome, not an exception."""
    from runs.arguments import parse_args
    from runs.execute import carry_out

    commands = {run: parse_args(options.command(run)) for run in runs}
    state, message, locked = DONE, "", []
    with open(os.devnull, "w") as silence, contextlib.redirect_stdout(silence), contextlib.redirect_stderr(silence):
        try:
            locked = carry_out(list(commands.values()), wait=False)
        except InputError as error:
            state, message = REFUSED, str(error)
        except Exception as error:  # an error in a run must not end the sweep
            state, message = FAILED, f"{type(error).__name__}: {error}"
            _keep_traceback(runs, options)
    outcomes = []
    for run, command in commands.items():
        if any(command is other for other in locked):
            outcomes.append(Outcome(run, LOCKED))
        elif is_complete(run.folder(options.output)):  # it completed before another run of the stack failed
            outcomes.append(Outcome(run, DONE))
        else:
            outcomes.append(Outcome(run, state, message))
    return outcomes


def _keep_traceback(runs: Sequence[Run], options: Options) -> None:
    """Append the traceback to the logs of the runs that were in progress."""
    for run in runs:
        folder = run.folder(options.output)
        log = folder / LOG_FILE
        if log.is_file() and not is_complete(folder):
            with contextlib.suppress(OSError), log.open("a", encoding="utf-8") as file:
                file.write(traceback.format_exc())
