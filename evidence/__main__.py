"""Measure what the method claims: python -m evidence COMMAND."""

import argparse
import sys

from dassl.commands import commands_parser, run_command


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    return commands_parser("evidence", __doc__)


def main(argv: list[str] | None = None) -> int:
    """Run a command; returns the exit code: 0, 2 for bad input, or 130 for an interrupt."""
    return run_command("evidence", __doc__, argv)


if __name__ == "__main__":
    sys.exit(main())
