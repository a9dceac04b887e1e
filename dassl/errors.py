"""The one exception for mistakes of the user, and the wording of the commonest of them; needs no torch."""

from collections.abc import Iterable
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
