"""Work with a tuned model: python -m biomed_dpt COMMAND BUNDLE."""

import argparse
import ast
import sys
from importlib import import_module
from pathlib import Path

from dassl.errors import exit_code

COMMANDS = Path(__file__).parent / "commands"


def build_parser() -> argparse.ArgumentParser:
    """The command line; every file in commands/ is a command."""
    parser = argparse.ArgumentParser(prog="python -m biomed_dpt", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for path in sorted(COMMANDS.glob("[a-z]*.py")):
        about = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        command = commands.add_parser(path.stem, help=about.splitlines()[0], description=about)
        import_module(f"biomed_dpt.commands.{path.stem}").add_arguments(command)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run a command; returns the exit code: 0, 2 for bad input, or 130 for an interrupt."""
    args = build_parser().parse_args(argv)
    return exit_code(lambda: import_module(f"biomed_dpt.commands.{args.command}").run(args))


if __name__ == "__main__":
    sys.exit(main())
