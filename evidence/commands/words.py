"""Train methods with a learned text context, and record what the context becomes after every epoch.

The nearest words of a tuned model that exists already are shown by `python -m biomed_dpt words`.
"""

import argparse
import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from biomed_dpt.arguments import add_backbone_path
from dassl.errors import InputError, unknown_name
from runs.arguments import add_data

if TYPE_CHECKING:
    from yacs.config import CfgNode

    from evidence.learning import Learning

OF_TRAINING = ("OUTPUT_DIR", "RESUME")  # settings of runs that the command sets itself


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    about = "methods with a learned text context, side by side, separated by commas (default: BiomedDPT)"
    add("--trainers", "--trainer", default="BiomedDPT", metavar="METHODS", help=about)
    add_data(parser)
    add_backbone_path(parser)
    add("--shots", default="16", help="training images per class, or all (default: 16)")
    add("--seed", default="1", help="random seed of images and training (default: 1)")
    add("--count", type=int, default=5, help="words for each learned vector (default: 5)")
    add("--output", type=Path, default=Path("output_evidence/words"), metavar="DIR", help="(default: %(default)s)")
    add("--overwrite", action="store_true", help="replace the files of an earlier recording in DIR")
    add("opts", nargs="*", metavar="KEY VALUE", help="configuration keys and their values")
    parser.set_defaults(dataset="phantom", backbone="Tiny")


def run(args: argparse.Namespace) -> None:
    _check_output(args.output, args.overwrite)
    configurations = _configurations(args)
    from evidence.word_figures import draw_figures
    from evidence.word_files import words_text, write_files

    trainings = _train(configurations, args.count)
    draw_figures(trainings, args.output)
    write_files(trainings, args.output)
    print("\n\n".join(words_text(training) for training in trainings))
    print(f"\nnumbers, tables and figures are in '{args.output}'")


def _check_output(folder: Path, overwrite: bool) -> None:
    """Refuse, before the training, a folder that cannot be written or holds an earlier recording."""
    from evidence.word_figures import NAMES
    from evidence.word_files import FILES
    from sweep.check import refuse_unwritable

    if os.path.lexists(folder) and not folder.is_dir():
        raise InputError(f"--output: '{folder}' is no folder")
    found = [name for name in (*FILES, *NAMES) if (folder / name).exists()]
    if found and not overwrite:
        raise InputError(
            f"--output: '{folder}' holds {' and '.join(found)}; --overwrite replaces them, or name another folder"
        )
    refuse_unwritable(folder)


def _configurations(args: argparse.Namespace) -> "list[CfgNode]":
    """The configuration of each method, as `train.py` would build it.

    Raises:
        InputError: an unknown name, a bad value, or a setting that none of the methods reads.
    """
    from configs import unread
    from runs.arguments import configuration, parse_args
    from trainers.registry import METHOD_REGISTRY

    for key in args.opts[::2]:
        if key in OF_TRAINING:
            raise InputError(f"{key} has no effect here: every training starts at its beginning in its own folder")
    words = ["--dataset", args.dataset, "--root", args.root, "--backbone", args.backbone]
    words += ["--shots", args.shots, "--seed", args.seed, "--accept-unread", *args.opts]
    words += ["MODEL.BACKBONE.PATH", args.backbone_path] if args.backbone_path else []
    names = dict.fromkeys(args.trainers.replace(",", " ").split())
    if not names:
        raise InputError("--trainers names no method")
    found = []
    not_read = set(args.opts[::2])
    for name in names:
        cfg, _ = configuration(parse_args(["--trainer", name, *words]))
        if cfg.TRAINER.NAME not in METHOD_REGISTRY:
            raise unknown_name("method", cfg.TRAINER.NAME, METHOD_REGISTRY.registered_names())
        not_read = set(unread(not_read, cfg))
        found.append(cfg)
    if not_read:
        raise InputError(f"command line: no method of --trainers reads {', '.join(sorted(not_read))}")
    return found


def _train(configurations: "list[CfgNode]", count: int) -> "list[Learning]":
    """Train one method after the other; a bar shows the epochs of all of them and the time left."""
    from tqdm import tqdm

    from biomed_dpt.fitting import fit_folder
    from dassl.engine import build_trainer
    from dassl.utils import set_random_seed
    from evidence.learning import refuse_no_context, train_recorded

    with contextlib.ExitStack() as stack:
        trainers = []
        for cfg in configurations:
            cfg = cfg.clone()
            cfg.defrost()
            cfg.OUTPUT_DIR = str(stack.enter_context(fit_folder(None)))
            cfg.freeze()
            set_random_seed(max(cfg.SEED, 0))
            trainers.append(build_trainer(cfg))
        refuse_no_context(trainers)
        bar = stack.enter_context(tqdm(total=sum(trainer.max_epoch for trainer in trainers), unit="epoch"))
        trainings = []
        for trainer in trainers:
            bar.set_description(trainer.cfg.TRAINER.NAME)
            with open(os.devnull, "w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):
                trainings.append(train_recorded(trainer, count, bar.update))
    return trainings
