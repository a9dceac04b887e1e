"""Grids of runs: python -m sweep run --protocol few_shot --methods CoOp,BiomedDPT; python -m sweep table …"""

import argparse
import sys
from pathlib import Path

from dassl.errors import InputError, exit_code
from dassl.utils import atomic_path
from sweep import running
from sweep.plan import BASE2NEW_SHOTS, FEW_SHOT_SHOTS, SEEDS
from sweep.report import cli
from sweep.table import base2new_table, few_shot_table
from sweep.words import numbers, words

PAPER_DATASETS = ["btmri", "busi", "chmnist", "covid", "ctkidney", "dermamnist"]
PAPER_DATASETS += ["kneexray", "kvasir", "lungcolon", "octmnist", "retina"]


def add_grid(parser: argparse.ArgumentParser) -> None:
    """Add the words that say which runs a grid has."""
    add = parser.add_argument
    add("--protocol", default="few_shot", choices=("few_shot", "base2new"))
    add("--datasets", type=words, default=["phantom"], help="names, or 'all' for the paper's 11 (default: phantom)")
    add("--methods", type=words, default=["ZeroShot", "CoOp", "BiomedDPT"],
        help="names, or 'all' that the backbone and the protocol admit")  # fmt: skip
    add("--backbone", default="Tiny")
    add("--shots", type=numbers, default=None, help="default: 1,2,4,8,16 for few_shot, 16 for base2new")
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
    run.set_defaults(work=lambda args: running.run(_completed(args), lambda: print_tables(args)))
    table = commands.add_parser("table", help="only print the tables")
    add_grid(table)
    table.set_defaults(work=lambda args: print_tables(_completed(args)))
    cli.add_parsers(commands)
    return parser, commands


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, 1 if runs failed, 2 for bad input, 130 if interrupted."""
    argv = sys.argv[1:] if argv is None else argv
    parser, commands = build_parser()
    # KEY VALUE pairs may stand between options, which argparse allows for a parser without commands only.
    chosen = commands.choices.get(argv[0]) if argv else None
    args = chosen.parse_intermixed_args(argv[1:]) if chosen else parser.parse_args(argv)
    return exit_code(lambda: args.work(args), "the same command goes on where it was")


def _completed(args: argparse.Namespace) -> argparse.Namespace:
    """Fill in what other words decide."""
    args.datasets = PAPER_DATASETS if list(args.datasets) == ["all"] else args.datasets
    args.shots = args.shots or list(FEW_SHOT_SHOTS if args.protocol == "few_shot" else BASE2NEW_SHOTS)
    if min(args.shots) < 1:
        raise InputError(f"--shots {min(args.shots)}: at least 1 image per class is needed")
    args.output = args.output or Path("output_published" if args.published else "output")
    if list(args.methods) == ["all"]:
        from train import methods_for

        args.methods = methods_for(args.protocol, args.backbone, args.opts)
    return args


def print_tables(args: argparse.Namespace) -> None:
    """Print one table per data set, and keep them beside the runs; a disk that is full costs the file alone."""
    texts = []
    for dataset in args.datasets:
        title = f"{dataset}, {args.backbone}, {args.protocol}, accuracy in %, mean ± 95 % interval over seeds"
        where = (args.output, dataset, args.backbone, args.methods)
        if args.protocol == "few_shot":
            table = few_shot_table(*where, args.shots, args.seeds)
        else:
            table = base2new_table(*where, args.shots[0], args.seeds)
        texts.append(f"{title}\n\n{table}\n")
    text = "\n".join(texts)
    print(f"\n{text}")
    path = args.output / args.protocol / "table.md"
    try:
        with atomic_path(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        print(f"'{path}' was not written: {error}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
