"""Run a grid of runs and print its table: python -m sweep run --protocol few_shot --methods CoOp,BiomedDPT"""

import argparse
import itertools
import sys
import time
from datetime import timedelta
from pathlib import Path

from dassl.errors import InputError, exit_code
from dassl.utils import atomic_path
from sweep.local import execute
from sweep.plan import BASE2NEW_SHOTS, FEW_SHOT_SHOTS, SEEDS, make_plan
from sweep.report import cli
from sweep.table import base2new_table, few_shot_table
from train import check_names

PAPER_DATASETS = ["btmri", "busi", "chmnist", "covid", "ctkidney", "dermamnist"]
PAPER_DATASETS += ["kneexray", "kvasir", "lungcolon", "octmnist", "retina"]


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    def words(text: str) -> list[str]:
        return [word for word in text.replace(",", " ").split() if word]

    def numbers(text: str) -> list[int]:
        return [int(word) for word in words(text)]

    parser = argparse.ArgumentParser(prog="python -m sweep", description=__doc__)
    about = "run what is missing, or only print; others: report, import"
    parser.add_argument("command", choices=("run", "table"), help=about)
    add = parser.add_argument
    add("--protocol", default="few_shot", choices=("few_shot", "base2new"))
    add("--datasets", type=words, default=["phantom"], help="names, or 'all' for the paper's 11 (default: phantom)")
    add("--methods", type=words, default=["ZeroShot", "CoOp", "BiomedDPT"])
    add("--backbone", default="Tiny")
    add("--shots", type=numbers, default=None, help="default: 1,2,4,8,16 for few_shot, 16 for base2new")
    add("--seeds", type=numbers, default=list(SEEDS))
    add("--root", default="", help="the data root")
    add("--output", type=Path, default=None, help="root of all run folders (default: output, or output_published)")
    add("--published", action="store_true")
    add("--slots", type=int, default=0, help="runs at a time (default: one per GPU, or by the number of cores)")
    add("--stack", type=int, default=0, help="runs trained side by side in a process; 1 for none (default: by device)")
    add("opts", nargs="*", metavar="KEY VALUE", help="settings for every run")
    return parser.parse_intermixed_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, 1 if runs failed, 2 for bad input."""
    argv = sys.argv[1:] if argv is None else argv
    if argv[:1] in (["report"], ["import"]):
        return cli.main(argv)
    args = parse_args(argv)
    args.datasets = PAPER_DATASETS if args.datasets == ["all"] else args.datasets
    args.shots = args.shots or list(FEW_SHOT_SHOTS if args.protocol == "few_shot" else BASE2NEW_SHOTS)
    args.output = args.output or Path("output_published" if args.published else "output")
    work = _run if args.command == "run" else print_tables
    return exit_code(lambda: work(args), "the same command goes on where it was")


def _run(args: argparse.Namespace) -> int:
    started = time.time()
    if args.root and args.datasets != ["phantom"] and not Path(args.root).expanduser().is_dir():
        raise InputError(f"data root '{args.root}' does not exist")
    for method, dataset in itertools.product(args.methods, args.datasets):
        check_names(method, args.backbone, dataset)
    plan = make_plan(args.protocol, args.datasets, args.backbone, args.methods, args.shots, args.seeds)
    words = (["--root", args.root] if args.root else []) + (["--published"] if args.published else [])
    failures = execute(plan, args.output, words, args.opts, args.slots, args.stack)
    print_tables(args)
    print(f"\ntook {timedelta(seconds=round(time.time() - started))}; every run's files are in '{args.output}'")
    if failures:
        print(f"{len(failures)} runs failed; the same command runs them again", file=sys.stderr)
    return 1 if failures else 0


def print_tables(args: argparse.Namespace) -> None:
    """Print one table per data set, and keep them beside the runs."""
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
    with atomic_path(args.output / args.protocol / "table.md") as temporary:
        temporary.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
