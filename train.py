"""Train and test one run.

python train.py --trainer BiomedDPT                      the embedded default: phantom data, Tiny backbone
python train.py --trainer BiomedDPT --dataset btmri --root DATA --backbone BiomedCLIP --shots 16 --seed 1
python train.py --trainer CoOp_BiomedCLIP --dataset busi --root DATA --protocol base2new
python train.py --trainer CoOp … --eval-only --model-dir OUTPUT/…/seed1
python train.py --trainer BiomedDPT … TRAINER.BIOMEDDPT.L1_LAMBDA 20.0 OPTIM.MAX_EPOCH 50
"""

import argparse
import contextlib
import sys
import time
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

from dassl.config import dump_cfg
from dassl.errors import InputError, exit_code

try:
    from sweep.claims import Claim, ClaimedError
    from sweep.environment import environment
    from sweep.run import (
        Run,
        clear_folder,
        headline,
        is_complete,
        read_results,
        refuse_other_settings,
        with_harmonic_mean,
        write_results,
    )
except ModuleNotFoundError as error:
    hint = "install requirements.txt, or activate what the scripts made: source .venv/bin/activate"
    print(f"error: {error}; {hint}", file=sys.stderr)
    sys.exit(2)


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    return build_parser().parse_intermixed_args(argv)


@cache
def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--list", action="store_true", help="say which methods, backbones and data sets there are (alone)")
    add("--trainer", required=True, metavar="METHOD", help="a method, or METHOD_BACKBONE")
    add("--backbone", help="Tiny (default), BiomedCLIP …")
    add("--dataset", help="a name of configs/datasets/ (default: phantom)")
    add("--root", default="", help="the data root: the folder that holds BTMRI/, BUSI/ … (default: data/ here)")
    add("--shots", type=int, default=16, help="training images per class (default: 16)")
    add("--seed", type=int, default=1, help="(default: 1)")
    add("--protocol", default="few_shot", help="few_shot (default) or base2new")
    add(
        "--published",
        action="store_true",
        help="behave as the official code where it departs from the paper",
    )
    add("--output-dir", default="", help="the run's folder (default: one below output/, by what the run is)")
    add("--overwrite", action="store_true", help="run again from the start what lies in the output folder")
    add("--dataset-config-file", default="", help="a yaml file instead of configs/datasets/<dataset>.yaml")
    add("--config-file", default="", help="a yaml file instead of those in configs/trainers/<method>/")
    add("--eval-only", action="store_true", help="test a trained model")
    add("--model-dir", default="", help="folder of the trained model, for --eval-only")
    add("--load-epoch", type=int, help="the model after this many epochs, for --eval-only")
    add("--no-train", action="store_true", help="build everything, train nothing")
    add("--accept-unread", action="store_true", help="accept KEY VALUE pairs that the method does not read")
    add("opts", nargs="*", metavar="KEY VALUE", help="settings by their configuration keys")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0, or 2 for bad input."""
    if (sys.argv[1:] if argv is None else argv) == ["--list"]:
        from configs.listing import everything

        print(everything())
        return 0
    return run_together([parse_args(argv)])


def run_together(commands: list[argparse.Namespace]) -> int:
    """Carry out one command line, or train the runs of several side by side; returns the exit code."""
    return exit_code(lambda: carry_out(commands) and 0, "the same command goes on from the last finished epoch")


def carry_out(commands: list[argparse.Namespace], wait: bool = True) -> list[argparse.Namespace]:
    """Carry out command lines, their runs side by side; returns those whose run another process works on.

    Args:
        commands: parsed command lines.
        wait: wait for the other process instead.
    """
    jobs, claimed = [], []
    with contextlib.ExitStack() as claims:
        for args in commands:
            try:
                job = prepare(args, claims, wait)
            except ClaimedError:
                claimed.append(args)
            else:
                jobs += [job] if job else []
        if jobs:
            train(jobs)
    return claimed


@dataclass
class Job:
    """A run to be carried out: configuration, name, folder, and the right to work there."""

    cfg: Any
    run: Run
    folder: Path
    claim: Claim


def configuration(args: argparse.Namespace) -> tuple[Any, Run]:
    """The configuration of a command line, and the run that it is of; an InputError where either makes no sense."""
    from configs import Choice, build_cfg  # torch and the model libraries load here, after the arguments were read

    if args.shots < 1:
        raise InputError(f"--shots {args.shots}: at least 1 image per class is needed")
    given = {name: getattr(args, name) for name in ("backbone", "dataset") if getattr(args, name)}
    choice = Choice(
        trainer=args.trainer,
        protocol=args.protocol,
        shots=args.shots,
        seed=args.seed,
        root=args.root,
        published=args.published,
        dataset_config_file=args.dataset_config_file,
        config_file=args.config_file,
        opts=args.opts,
        accept_unread=args.accept_unread,
        **given,
    )
    if not given and not args.root and not args.dataset_config_file and "_" not in args.trainer:
        print("Embedded default: phantom data on the Tiny backbone (see --dataset, --root, --backbone)")
    cfg = build_cfg(choice)
    dataset = Path(args.dataset_config_file).stem if args.dataset_config_file else choice.dataset
    # From the configuration, not from the flags: CoOp-style command lines set these as KEY VALUE pairs.
    backbone, shots, seed = cfg.MODEL.BACKBONE.NAME, cfg.DATASET.NUM_SHOTS, cfg.SEED
    return cfg, Run(choice.protocol, dataset, backbone, choice.trainer, shots, seed)


def methods_for(protocol: str, backbone: str, opts: list[str]) -> list[str]:
    """Every method that the protocol, the backbone and the settings admit, in the order of the README's table."""
    from configs import admitted_methods

    return admitted_methods(protocol, backbone, opts)


def unread(keys: set[str], cfg) -> set[str]:
    """Those of some configuration keys that a run does not read."""
    from configs import unread

    return set(unread(keys, cfg))


def prepare(args: argparse.Namespace, claims: contextlib.ExitStack, wait: bool) -> Job | None:
    """From arguments to a run; None where nothing is left to train: it is complete, or was only to be tested.

    Args:
        args: the command line.
        claims: releases the run's claim in the end.
        wait: wait for a process that works on the run; otherwise that is a ClaimedError.
    """
    cfg, run = configuration(args)
    if args.eval_only:
        evaluate(cfg, args)
        return None
    default = run.folder("output_published" if args.published else "output")
    folder = Path(args.output_dir) if args.output_dir else default
    cfg = _with_folder(cfg, folder)

    def complete() -> bool:
        refuse_other_settings(dump_cfg(cfg), folder)
        if not is_complete(folder):
            return False
        print(f"complete already: {run}\n{headline(read_results(folder))}\nin '{folder}'; --overwrite runs it again")
        return True

    if not args.overwrite and complete():
        return None
    claim = Claim(folder, wait)
    claims.callback(claim.release)
    if args.overwrite and folder.is_dir():
        clear_folder(folder)
    if complete():  # another process may have completed it meanwhile
        return None
    job = Job(cfg, run, folder, claim)
    if args.no_train:
        build(job)
        return None
    return job


def build(job: Job):
    """Build a run's trainer; writes log.txt and config.yaml. What the trainer prints later goes to the same log."""
    from dassl.engine import build_trainer
    from dassl.utils import collect_env_info, open_log, printing_to, set_random_seed

    job.folder.mkdir(parents=True, exist_ok=True)
    log = open_log(str(job.folder))
    started = time.time()
    with printing_to(log):
        (job.folder / "config.yaml").write_text(dump_cfg(job.cfg))
        print(f"{job.run}\n{collect_env_info()}")
        set_random_seed(max(job.cfg.SEED, 0))
        trainer = build_trainer(job.cfg)
        print(f"learned parameters: {trainer.trainable_parameters:,}")
    trainer.logged = lambda: printing_to(log)
    trainer.seconds_to_build = time.time() - started
    return trainer


def train(jobs: list[Job]) -> None:
    """Train, test and write results.json and the marker of each run."""
    from trainers.stack import train_stack

    trainers = {build(job): job for job in jobs}
    stacked = sum(trainer.stackable for trainer in trainers)

    def finished(trainer) -> None:
        timing = {"train_and_test": round(time.time() - trainer.training_started, 2)}
        timing["runs_side_by_side"] = stacked if trainer.stackable else 1
        with trainer.logged():
            finish(trainers[trainer], trainer, timing)

    train_stack(list(trainers), finished)


def finish(job: Job, trainer, timing: dict) -> None:
    """Write the results of a run that was trained and tested, then its marker."""
    cfg = job.cfg
    results = {
        **job.run.as_dict(),
        "variant": "published" if cfg.PUBLISHED else "clean",
        "metrics": with_harmonic_mean(trainer.evaluation),
        "learned_parameters": trainer.trainable_parameters,
        "split": trainer.dm.dataset.split and trainer.dm.dataset.split.about(),
        "loss_per_epoch": _epoch_means(trainer.history["train/loss"], trainer.max_epoch),
        "seconds": {"build": round(trainer.seconds_to_build, 2), **timing},
        "environment": environment(trainer.device),
    }
    (job.folder / "checkpoint.pth").unlink(missing_ok=True)
    write_results(job.folder, results)
    took = timedelta(seconds=round(trainer.seconds_to_build + timing["train_and_test"]))
    print(f"{headline(results)}\ntook {took}; results in '{job.folder}'")
    job.claim.release()


def evaluate(cfg, args: argparse.Namespace) -> None:
    """Test a stored model; prints, writes nothing."""
    from dassl.engine import build_trainer

    trainer = build_trainer(cfg)
    if trainer.trainable_parameters:
        if not args.model_dir:
            raise InputError("--eval-only needs --model-dir, the folder of a trained model")
        trainer.load_model(args.model_dir, epoch=args.load_epoch)
    print(headline({"metrics": with_harmonic_mean(trainer.evaluate())}))


def _with_folder(cfg, folder: Path):
    cfg = cfg.clone()
    cfg.defrost()
    cfg.OUTPUT_DIR = str(folder)
    cfg.freeze()
    return cfg


def _epoch_means(history: list[tuple[int, float]], epochs: int) -> list[float]:
    values = [value for _, value in history]
    steps = len(values) // epochs
    return [round(sum(values[k : k + steps]) / steps, 6) for k in range(0, len(values), steps)] if steps else []


if __name__ == "__main__":
    sys.exit(main())
