"""The exception for bad user input, the error for unknown names, and exit codes. Needs no torch."""

import io
import sys
from collections.abc import Callable, Iterable
from difflib import get_close_matches

LISTED = 60  # names in one message


class InputError(ValueError):
    """Bad user input. The message says what was wrong, where, and what to do; programs end with exit code 2."""


class DivergedError(InputError, FloatingPointError):
    """A loss, weight or logit that is not finite, which is an error of the settings."""


class OutputError(InputError, OSError):
    """A file or folder that cannot be written."""

    def __init__(self, path: object, error: OSError):
        reason = error.strerror or error
        super().__init__(f"'{path}' cannot be written ({reason}); make room or name another place, then start again")


def first_line(error: BaseException, length: int = 200) -> str:
    """The first line of an error's message, cut where it is long; libraries write whole pages."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0] if len(lines[0]) <= length else f"{lines[0][:length]}…"


def shown(value: object, length: int = 120) -> str:
    """A value as one short line for an error message."""
    text = repr(value)
    return text if len(text) <= length else f"{text[:length]}…"


def printable(text: str, keep: str = "\n") -> str:
    """Text with escapes in place of what a terminal would obey or cannot show.

    Control characters, marks of the direction of writing, and bytes of a file name that are not UTF-8.

    Args:
        text: the text.
        keep: characters that stay as they are.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in text)


def unknown_name(kind: str, name: str, available: Iterable[str]) -> InputError:
    """Make the error for an unknown name, with the most similar known name and the known names, at most 60 of them."""
    available = sorted(available)
    by_lower = {candidate.lower(): candidate for candidate in available}
    close = get_close_matches(name[:120].lower(), by_lower, n=1, cutoff=0.5)
    guess = f" Did you mean '{by_lower[close[0]]}'?" if close else ""
    more = f" and {len(available) - LISTED} others" if len(available) > LISTED else ""
    listed = ", ".join(available[:LISTED])
    quoted = f"'{name}'" if name.isprintable() and len(name) <= 120 else shown(name)
    return InputError(f"unknown {kind} {quoted}.{guess} Available: {listed}{more}")


def exit_code(work: Callable[[], int | None], after_interrupt: str = "") -> int:
    """Run a program and return its exit code: 2 after bad input, 130 after an interrupt, with a message on stderr."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names of files may hold what the terminal's encoding lacks
            stream.reconfigure(errors="backslashreplace")
    try:
        return work() or 0
    except InputError as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"interrupted; {after_interrupt}", file=sys.stderr)
        return 130
