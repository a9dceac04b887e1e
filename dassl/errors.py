"""The one exception for mistakes of the user, the wording of the commonest, and how programs end; needs no torch."""

import sys
from collections.abc import Callable, Iterable
from difflib import get_close_matches


class InputError(ValueError):
    """Bad input: the message says what was wrong, where, and what to do; programs end with exit code 2."""


def unknown_name(kind: str, name: str, available: Iterable[str]) -> InputError:
    """The error for a name that is not known: a guess at what was meant, and all that there is."""
    available = sorted(available)
    by_lower = {candidate.lower(): candidate for candidate in available}
    close = get_close_matches(name.lower(), by_lower, n=1, cutoff=0.5)
    guess = f" Did you mean '{by_lower[close[0]]}'?" if close else ""
    return InputError(f"unknown {kind} '{name}'.{guess} Available: {', '.join(available)}")


def exit_code(work: Callable[[], int | None], after_interrupt: str = "") -> int:
    """Do a program's work; returns its exit code: 2 for bad input, 130 for an interrupt, with a line that says so."""
    try:
        return work() or 0
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"interrupted; {after_interrupt}", file=sys.stderr)
        return 130
