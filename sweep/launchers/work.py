"""What a process that was given runs does with them, whoever started it; the framework loads when it begins."""

import contextlib
import os
import traceback
from collections.abc import Sequence
from dataclasses import dataclass

from dassl.errors import InputError
from sweep.run import Run, Settings, is_complete

DONE, CLAIMED, REFUSED, FAILED = "done", "claimed", "refused", "failed"


@dataclass(frozen=True)
class Outcome:
    """What became of a run.

    Attributes:
        run: the run.
        state: done; claimed, another process works on it; refused, its input is bad and it will not do better next
            time; failed, anything else.
        message: what was wrong.
    """

    run: Run
    state: str
    message: str = ""


def work_on(runs: Sequence[Run], settings: Settings) -> list[Outcome]:
    """Carry out runs side by side in this process; a run's fault is an outcome, not an exception."""
    import train

    commands = {run: train.parse_args(settings.command(run)) for run in runs}
    state, message, claimed = DONE, "", []
    with open(os.devnull, "w") as silence, contextlib.redirect_stdout(silence), contextlib.redirect_stderr(silence):
        try:
            claimed = train.carry_out(list(commands.values()), wait=False)
        except InputError as error:
            state, message = REFUSED, str(error)
        except Exception as error:  # a run's fault must not end the sweep
            state, message = FAILED, f"{type(error).__name__}: {error}"
            _keep_traceback(runs, settings)
    outcomes = []
    for run, command in commands.items():
        if any(command is other for other in claimed):
            outcomes.append(Outcome(run, CLAIMED))
        elif is_complete(run.folder(settings.output)):  # before its neighbour failed
            outcomes.append(Outcome(run, DONE))
        else:
            outcomes.append(Outcome(run, state, message))
    return outcomes


def _keep_traceback(runs: Sequence[Run], settings: Settings) -> None:
    """Append the traceback to the logs of the runs that were under way."""
    for run in runs:
        folder = run.folder(settings.output)
        log = folder / "log.txt"
        if log.is_file() and not is_complete(folder):
            with contextlib.suppress(OSError), log.open("a", encoding="utf-8") as file:
                file.write(traceback.format_exc())
