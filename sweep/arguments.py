"""The arguments that say which runs a grid has, and the grids that they mean."""

import argparse
import os
from collections.abc import Callable
from pathlib import Path

from configs.names import is_path
from dassl.errors import InputError, shown, unknown_name
from runs.arguments import add_import
from runs.run import ALL_SHOTS, dataset_name, in_order
from sweep.options import Options
from sweep.plan import BASE2NEW_SHOTS, FEW_SHOT_SHOTS, PROTOCOLS, SEEDS, Axes

MOST = 2**32 - 1  # the largest seed, of NumPy's generators


def names(text: str) -> tuple[str, ...]:
    """A list of names, separated by commas or spaces."""
    if not (found := tuple(text.replace(",", " ").split())):
        raise argparse.ArgumentTypeError("the list is empty")
    return found


def numbers(text: str) -> tuple[int, ...]:
    """A list of integers from 0 to 2³² - 1, separated by commas or spaces."""
    return tuple(_number(name, 0) for name in names(text))


def shots(text: str) -> tuple[int, ...]:
    """A list of numbers of images per class, separated by commas or spaces; "all" (or -1) is one of them."""
    return tuple(ALL_SHOTS if name in ("all", str(ALL_SHOTS)) else _number(name, 0) for name in names(text))


def folder(text: str) -> Path:
    """The path of a folder."""
    if not text.strip() or "\0" in text:
        raise argparse.ArgumentTypeError(f"{shown(text)} is no folder")
    return Path(text)


def at_least(least: int) -> Callable[[str], int]:
    """A function that reads an integer of a certain size."""
    return lambda text: _number(text, least)


def _number(text: str, least: int) -> int:
    if not text.isdecimal() or len(text) > len(str(MOST)) or not least <= int(text) <= MOST:
        raise argparse.ArgumentTypeError(f"{shown(text)} is no integer from {least} to {MOST}")
    return int(text)


def add_grid(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say which runs a grid has."""
    add = parser.add_argument
    add("--protocol", type=names, default=("few_shot",), help="few_shot (default), base2new, or both")
    about = "names, paths of your own yaml files, or 'all' for the paper's (default: phantom)"
    add("--datasets", type=names, default=("phantom",), help=about)
    about = "names, or 'all' that the backbone and the protocol admit (default: ZeroShot,CoOp,BiomedDPT)"
    add("--methods", type=names, default=("ZeroShot", "CoOp", "BiomedDPT"), help=about)
    add("--backbone", default="Tiny", help="(default: Tiny)")
    about = "'all' is one, too (default: 1,2,4,8,16 for few_shot, 16 for base2new, with both its largest only)"
    add("--shots", type=shots, default=None, help=about)
    add("--seeds", type=numbers, default=SEEDS, help="(default: 1,2,3)")
    add(
        "--folds",
        type=at_least(0),
        default=0,
        metavar="N",
        help="N-fold cross-validation: N runs per seed (default: none)",
    )
    add("--root", default="", help="the folder that holds BTMRI/, BUSI/ … (default: data/ in this project)")
    add("--output", type=folder, default=None, help="root of all run folders (default: output, or output_published)")
    add("--published", action="store_true", help="follow the official code where it differs from the paper")
    add_import(parser)
    add("opts", nargs="*", metavar="KEY VALUE", help="configuration keys and their values, for every run")


def grids_and_options(args: argparse.Namespace) -> tuple[list[Axes], Options]:
    """The grids of a command line, one per protocol, and what all of their runs share.

    Raises:
        InputError: an unknown protocol, a bad number of shots or folds, an output that is a file, or a yaml file whose
            name cannot be used.
    """
    if args.shots and 0 in args.shots:
        raise InputError("--shots 0: at least 1 image per class is needed")
    if args.folds == 1:
        raise InputError("--folds 1: cross-validation has at least 2 folds, and 0 means none")
    for protocol in args.protocol:
        if protocol not in PROTOCOLS:
            raise unknown_name("protocol", protocol, PROTOCOLS)
    datasets, files = _datasets(args.datasets)
    imports = tuple(str(Path(os.path.expanduser(path)).resolve()) for path in args.imports)
    output = args.output or Path("output_published" if args.published else "output")
    if os.path.lexists(output) and not output.is_dir():
        raise InputError(f"--output: '{output}' is no folder")
    options = Options(output, args.root, args.published, tuple(args.opts), imports, files, args.folds)
    options.import_files()
    return [_axes(protocol, datasets, args) for protocol in dict.fromkeys(args.protocol)], options


def _axes(protocol: str, datasets: tuple[str, ...], args: argparse.Namespace) -> Axes:
    shots = args.shots or (FEW_SHOT_SHOTS if protocol == "few_shot" else BASE2NEW_SHOTS)
    if protocol == "base2new" and len(args.protocol) > 1:
        shots = (in_order(shots)[-1],)
    methods = args.methods
    if methods == ("all",):
        from configs import admitted_methods

        methods = tuple(admitted_methods(protocol, args.backbone, args.opts))
    return Axes(protocol, datasets, args.backbone, methods, shots, args.seeds, args.folds)


def _datasets(given: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """Names of data sets, and the yaml files of those that were given as paths."""
    if given == ("all",):
        from configs import paper_datasets

        return paper_datasets(), ()
    files: dict[str, str] = {}
    chosen = []
    for dataset in given:
        name = dataset_name(dataset) if is_path(dataset) else dataset
        path = str(Path(os.path.expanduser(dataset)).resolve()) if is_path(dataset) else ""
        if name in chosen and files.get(name, "") != path:
            raise InputError(f"--datasets: two data sets are named '{name}'; rename the yaml file of one")
        if path:
            files[name] = path
        chosen.append(name)
    return tuple(dict.fromkeys(chosen)), tuple(files.items())
