"""The command line of one run, and the configuration that it means."""

import argparse
from functools import cache
from typing import TYPE_CHECKING

from configs.names import is_path
from dassl.errors import InputError
from runs.imports import import_file
from runs.run import ALL_SHOTS, Run, dataset_name

if TYPE_CHECKING:
    from yacs.config import CfgNode


def parse_args(argv: list[str] | None = None, description: str = "") -> argparse.Namespace:
    """Parse the arguments of train.py; KEY VALUE pairs may stand between the options."""
    return build_parser(description).parse_intermixed_args(argv)


@cache
def build_parser(description: str = "") -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--list", action="store_true", help="list methods, backbones and data sets; --list METHOD: its settings")
    add("--trainer", required=True, metavar="METHOD", help="a method, or METHOD_BACKBONE")
    add_data(parser)
    add("--shots", type=_shots, default=16, help="training images per class, or all (default: 16)")
    add("--seed", type=int, default=1, help="random seed of images and training (default: 1)")
    add("--protocol", default="few_shot", help="few_shot (default) or base2new")
    add("--published", action="store_true", help="follow the official code where it differs from the paper")
    add("--output-dir", default="", help="the run's folder (default: a folder in output/ named after the run)")
    add("--overwrite", action="store_true", help="delete what the output folder holds and run again")
    add("--dataset-config-file", default="", help="a yaml file instead of configs/datasets/<dataset>.yaml")
    add("--config-file", default="", help="a yaml file instead of the method's own in configs/trainers/")
    add_import(parser)
    add("--eval-only", action="store_true", help="test a trained model")
    add("--model-dir", default="", help="the folder of the trained model, for --eval-only")
    add("--load-epoch", type=int, help="the epoch after which the model was saved, for --eval-only")
    add("--no-train", action="store_true", help="build everything, but do not train")
    calibrate = "fit the temperature on the training images by cross-fitting: up to 5 more trainings, on other folds"
    add("--calibrate", action="store_true", help=calibrate)
    add("--accept-unread", action="store_true", help="accept KEY VALUE pairs that the run does not read")
    add("opts", nargs="*", metavar="KEY VALUE", help="configuration keys and their values")
    return parser


def _shots(text: str) -> int:
    return ALL_SHOTS if text == "all" else int(text)


_shots.__name__ = "number of shots"  # argparse shows the name where the text is no number


def add_data(parser: argparse.ArgumentParser) -> None:
    """Add the backbone, the data set and where it is."""
    add = parser.add_argument
    add("--backbone", help="Tiny (default), BiomedCLIP …")
    about = "a data set of train.py --list, or the path of your own yaml file (default: phantom)"
    add("--dataset", help=about)
    add("--root", default="", help="the folder that holds BTMRI/, BUSI/ … (default: data/ in this project)")


def add_import(parser: argparse.ArgumentParser) -> None:
    """Add --import, which may be given several times."""
    about = "a Python file with your own Dassl trainers and data sets (may be repeated)"
    parser.add_argument("--import", dest="imports", action="append", default=[], metavar="FILE", help=about)


def configuration(args: argparse.Namespace) -> tuple["CfgNode", Run]:
    """The configuration that a command line means, and the run's name.

    Raises:
        InputError: an unknown name, a bad value or a bad combination.
    """
    from configs import (  # imports torch, which takes seconds: after the arguments were parsed
        Choice,
        build_cfg,
        untrained_methods,
    )
    from runs.plain import is_plain

    if args.shots < 1 and args.shots != ALL_SHOTS:
        raise InputError(f"--shots {args.shots}: at least 1 image per class is needed; 'all' takes all of them")
    for path in args.imports:
        import_file(path)
    file, dataset = args.dataset_config_file, args.dataset
    if dataset and is_path(dataset):
        file, dataset = dataset, dataset_name(dataset)
    given = {name: value for name, value in (("backbone", args.backbone), ("dataset", dataset)) if value}
    choice = Choice(
        trainer=args.trainer,
        protocol=args.protocol,
        shots=args.shots,
        seed=args.seed,
        root=args.root,
        published=args.published,
        dataset_config_file=file,
        config_file=args.config_file,
        opts=args.opts,
        accept_unread=args.accept_unread,
        **given,
    )
    if not given and not args.root and not file and "_" not in args.trainer:
        print("Embedded default: phantom data on the Tiny backbone (see --dataset, --root, --backbone)")
    cfg = build_cfg(choice)
    if choice.protocol == "base2new" and is_plain(choice.trainer):
        raise InputError(
            f"{choice.trainer} is a Dassl trainer, which is tested on the classes of its training only: the protocol "
            "base2new needs a method of this project; run it twice with DATASET.SUBSAMPLE_CLASSES base and new instead"
        )
    # Backbone, shots and seed come from the configuration: CoOp-style command lines set them as KEY VALUE pairs.
    backbone, shots, seed = cfg.MODEL.BACKBONE.NAME, cfg.DATASET.NUM_SHOTS, cfg.SEED
    if choice.trainer in untrained_methods():  # its result is that of every number of shots and every seed
        shots, seed = 0, 1
    name = dataset_name(file) if file else choice.dataset
    fold = cfg.DATASET.FOLD if cfg.DATASET.FOLDS else 0
    return cfg, Run(choice.protocol, name, backbone, choice.trainer, shots, seed, fold)
