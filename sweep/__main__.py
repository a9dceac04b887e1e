"""Grids of runs: python -m sweep run --protocol few_shot --methods CoOp,BiomedDPT; python -m sweep table …"""

import argparse
import gc
import sys
from collections.abc import Sequence
from pathlib import Path

from dassl.errors import exit_code
from dassl.utils import atomic_path
from sweep import ablation, run_command
from sweep.arguments import add_grid, grids_and_options
from sweep.plan import Axes
from sweep.report import cli
from sweep.report.summary import summary


def build_parser() -> tuple[argparse.ArgumentParser, argparse.Action]:
    """The parser, and its commands; each sets `work`, a function of the parsed arguments."""
    parser = argparse.ArgumentParser(prog="python -m sweep", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="run what is missing, and print the tables")
    add_grid(run)
    run_command.add_arguments(run)
    run.set_defaults(work=run_sweep)
    ablate = commands.add_parser("ablate", help="the same runs with several variants of the settings, side by side")
    ablate.add_argument("plan", type=Path, metavar="PLAN.yaml", help="arguments of run, and the variants")
    add_grid(ablate)
    run_command.add_arguments(ablate)
    ablate.set_defaults(work=run_ablation)
    table = commands.add_parser("table", help="only print the tables")
    add_grid(table)
    table.set_defaults(work=tables)
    cli.add_parsers(commands)
    return parser, commands


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, 1 if runs failed, 2 for bad input, 130 for an interrupt."""
    argv = sys.argv[1:] if argv is None else argv
    parser, commands = build_parser()
    # argparse accepts KEY VALUE pairs between options only for a parser without commands: the command's own is used.
    chosen = commands.choices.get(argv[0]) if argv else None
    args = chosen.parse_intermixed_args(argv[1:]) if chosen else parser.parse_args(argv)
    # Loading libraries and reading results makes next to no garbage; collecting it takes a fifth of the time.
    gc.disable()
    try:
        return exit_code(lambda: args.work(args), "the same command resumes the sweep")
    finally:
        gc.enable()


def run_sweep(args: argparse.Namespace) -> int:
    """Run what is missing and print the tables; returns 1 if runs failed."""
    grids, options = grids_and_options(args)
    return run_command.run(args, grids, options, lambda: print_tables(grids, options.output))


def run_ablation(args: argparse.Namespace) -> int:
    """Run the variants of a plan and print their table; returns 1 if runs failed."""
    plan = ablation.read_plan(args.plan)
    ablate = build_parser()[1].choices["ablate"]
    given = ablate.parse_intermixed_args([str(args.plan), *plan.arguments])
    usual = ablate.parse_intermixed_args([str(args.plan)])
    for name in ablation.ARGUMENTS:  # the command line wins over the plan
        if getattr(args, name) == getattr(usual, name):
            setattr(args, name, getattr(given, name))
    return ablation.run(args, plan)


def tables(args: argparse.Namespace) -> None:
    """Print the tables of a grid."""
    grids, options = grids_and_options(args)
    print_tables(grids, options.output)


def print_tables(grids: Sequence[Axes], output: Path) -> None:
    """Print the tables of each protocol, and write them to <output>/<protocol>/table.md."""
    for axes in grids:
        text = summary([axes], output)
        print(f"\n{text}")
        path = output / axes.protocol / "table.md"
        try:
            with atomic_path(path) as temporary:
                temporary.write_text(text, encoding="utf-8")
        except OSError as error:  # a full disk must not cost the tables on the screen
            print(f"'{path}' was not written: {error}", file=sys.stderr)


if __name__ == "__main__":
    code = main()
    gc.freeze()  # otherwise the interpreter looks for garbage in everything that was loaded before it exits
    sys.exit(code)
