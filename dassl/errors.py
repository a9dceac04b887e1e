"""The exception for bad user input, the error for unknown names, and exit codes. Needs no torch."""

import sys
from collections.abc import Callable, Iterable
from difflib import get_close_matches


class InputError(ValueError):
    """Bad user input. The message says what was wrong, where, and what to do; programs end with exit code 2."""


def unknown_name(kind: str, name: str, available: Iterable[str]) -> InputError:
    """Make the error for an unknown name, with the most similar known name and a list of all known names."""
    available = sorted(available)
    by_lower = {candidate.lower(): candidate for candidate in available}
    close = get_close_matches(name.lower(), by_lower, n=1, cutoff=0.5)
    guess = f" Did you mean '{by_lower[close[0]]}'?" if close else ""
    return InputError(f"unknown {kind} '{name}'.{guess} Available: {', '.join(available)}")


def exit_code(work: Callable[[], int | None], after_interrupt: str = "") -> int:
    """Run a program and return its exit code: 2 after bad input, 130 after an interrupt, with a message on stderr."""
    try:
        return work() or 0
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"interrupted; {after_interrupt}", file=sys.stderr)
        return 130
