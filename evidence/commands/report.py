"""Write tables, figures and the page of a measurement anew, from its results.json."""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, help="folder of `python -m evidence attention`")


def run(args: argparse.Namespace) -> None:
    from evidence.report import print_report
    from evidence.results import read_results

    print_report(read_results(args.folder), args.folder)
