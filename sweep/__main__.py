"""Grids of runs: python -m sweep run --protocol few_shot --methods CoOp,BiomedDPT; python -m sweep table …"""

import argparse
import gc
import sys
from pathlib import Path

from dassl.errors import InputError, exit_code, unknown_name
from dassl.utils import atomic_path
from sweep import running
from sweep.plan import BASE2NEW_SHOTS, FEW_SHOT_SHOTS, PROTOCOLS, SEEDS, Axes
from sweep.report import cli
from sweep.table import base2new_table, few_shot_table
from sweep.words import numbers, words

PAPER_DATASETS = ["btmri", "busi", "chmnist", "covid", "ctkidney", "dermamnist"]
PAPER_DATASETS += ["kneexray", "kvasir", "lungcolon", "octmnist", "retina"]


def add_grid(parser: argparse.ArgumentParser) -> None:
    """Add the words that say which runs a grid has."""
    add = parser.add_argument
    add("--protocol", type=words, default=["few_shot"], help="few_shot (default), base2new, or both")
    add("--datasets", type=words, default=["phantom"], help="names, or 'all' for the paper's 11 (default: phantom)")
    add("--methods", type=words, default=["ZeroShot", "CoOp", "BiomedDPT"],
        help="names, or 'all' that the backbone and the protocol admit")  # fmt: skip
    add("--backbone", default="Tiny")
    about = "default: 1,2,4,8,16 for few_shot, 16 for base2new; where both run, base2new has the most of these only"
    add("--shots", type=numbers, default=None, help=about)
    add("--seeds", type=numbers, default=list(SEEDS))
    add("--root", default="", help="the data root")
    add("--output", type=Path, default=None, help="root of all run folders (default: output, or output_published)")
    add("--published", action="store_true")
    add("opts", nargs="*", metavar="KEY VALUE", help="settings for every run")


def build_parser() -> tuple[argparse.ArgumentParser, argparse.Action]:
    """The parser, and its commands; each sets `work`, a function of the parsed arguments."""
    parser = argparse.ArgumentParser(prog="python -m sweep", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="run what is missing, and print the tables")
    add_grid(run)
    running.add_arguments(run)
    run.set_defaults(work=run_sweep)
    table = commands.add_parser("table", help="only print the tables")
    add_grid(table)
    table.set_defaults(work=lambda args: print_tables(grids_of(args), args.output))
    cli.add_parsers(commands)
    return parser, commands


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, 1 if runs failed, 2 for bad input, 130 if interrupted."""
    argv = sys.argv[1:] if argv is None else argv
    parser, commands = build_parser()
    # KEY VALUE pairs may stand between options, which argparse allows for a parser without commands only.
    chosen = commands.choices.get(argv[0]) if argv else None
    args = chosen.parse_intermixed_args(argv[1:]) if chosen else parser.parse_args(argv)
    # While libraries load and results are read there is next to no garbage; looking for it takes a fifth of the time.
    gc.disable()
    try:
        return exit_code(lambda: args.work(args), "the same command goes on where it was")
    finally:
        gc.enable()


def run_sweep(args: argparse.Namespace) -> int:
    """Run what is missing and print the tables; returns 1 if runs failed."""
    grids = grids_of(args)
    return running.run(args, grids, lambda: print_tables(grids, args.output))


def grids_of(args: argparse.Namespace) -> list[Axes]:
    """The grids that a command line asks for, one per protocol; fills in the output folder."""
    args.output = args.output or Path("output_published" if args.published else "output")
    if args.shots and min(args.shots) < 1:
        raise InputError(f"--shots {min(args.shots)}: at least 1 image per class is needed")
    for protocol in args.protocol:
        if protocol not in PROTOCOLS:
            raise unknown_name("protocol", protocol, PROTOCOLS)
    return [_axes(protocol, args) for protocol in dict.fromkeys(args.protocol)]


def _axes(protocol: str, args: argparse.Namespace) -> Axes:
    datasets = PAPER_DATASETS if list(args.datasets) == ["all"] else args.datasets
    shots = args.shots or (FEW_SHOT_SHOTS if protocol == "few_shot" else BASE2NEW_SHOTS)
    if protocol == "base2new" and len(args.protocol) > 1:
        shots = (max(shots),)
    methods = args.methods
    if list(methods) == ["all"]:
        from train import methods_for

        methods = methods_for(protocol, args.backbone, args.opts)
    return Axes(protocol, datasets, args.backbone, methods, shots, args.seeds)


def print_tables(grids: list[Axes], output: Path) -> None:
    """Print one table per protocol and data set, and keep them beside the runs."""
    for axes in grids:
        text = "\n".join(_table(axes, dataset, output) for dataset in axes.datasets)
        print(f"\n{text}")
        path = output / axes.protocol / "table.md"
        try:
            with atomic_path(path) as temporary:
                temporary.write_text(text, encoding="utf-8")
        except OSError as error:  # a disk that is full costs the file alone
            print(f"'{path}' was not written: {error}", file=sys.stderr)


def _table(axes: Axes, dataset: str, output: Path) -> str:
    title = f"{dataset}, {axes.backbone}, {axes.protocol}, accuracy in %, mean ± 95 % interval over seeds"
    where = (output, dataset, axes.backbone, axes.methods)
    if axes.protocol == "few_shot":
        table = few_shot_table(*where, axes.shots, axes.seeds)
    else:
        table = base2new_table(*where, axes.shots[0], axes.seeds)
    return f"{title}\n\n{table}\n"


if __name__ == "__main__":
    code = main()
    gc.freeze()  # or the exit takes longer, for garbage is looked for among all that was loaded
    sys.exit(code)
