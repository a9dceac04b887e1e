"""Command lines whose commands are the files of a folder."""

import argparse
import ast
from importlib import import_module
from pathlib import Path

from dassl.errors import exit_code


def commands_parser(package: str, about: str | None) -> argparse.ArgumentParser:
    """The parser of `python -m PACKAGE COMMAND`; every file in the package's folder commands/ is a command.

    A file has `add_arguments(parser)` and `run(args)`, which returns the exit code or None. The first line of its
    docstring is its help.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {package}", description=about)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    folder = Path(import_module(f"{package}.commands").__path__[0])
    for path in sorted(folder.glob("[a-z]*.py")):
        described = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        command = commands.add_parser(path.stem, help=described.splitlines()[0], description=described)
        import_module(f"{package}.commands.{path.stem}").add_arguments(command)
    return parser


def run_command(package: str, about: str | None, argv: list[str] | None = None) -> int:
    """Run a command; returns the exit code: 0, 2 for bad input, or 130 for an interrupt."""
    args = commands_parser(package, about).parse_args(argv)
    return exit_code(lambda: import_module(f"{package}.commands.{args.command}").run(args))
