"""Carries out runs: prepares, trains and tests them, and writes their results."""

import argparse
import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dassl.config import dump_cfg
from dassl.errors import DivergedError, InputError
from dassl.utils import atomic_path
from runs.arguments import configuration
from runs.calibrate import calibration_of, check_folds, refuse_calibrate, refuse_other_calibration
from runs.contents import Contents
from runs.environment import environment
from runs.folder import CHECKPOINT_FILE, CONFIG_FILE, PREDICTIONS_FILE, clear_folder, is_complete, refuse_other_files
from runs.lock import LockedError, RunLock
from runs.memory import peak_memory
from runs.predictions import write_predictions
from runs.results import headline, read_results, with_harmonic_mean, write_results
from runs.run import Run
from runs.scratch import use_own_folder
from runs.settings import Settings, refuse_other_settings

if TYPE_CHECKING:
    from yacs.config import CfgNode


@dataclass
class Job:
    """A run to be carried out, with its configuration, folder and lock."""

    cfg: "CfgNode"
    run: Run
    folder: Path
    lock: RunLock
    settings: Settings
    calibrate: bool = False


def carry_out(commands: Sequence[argparse.Namespace], wait: bool = True) -> list[argparse.Namespace]:
    """Carry out command lines, their runs in one stack; returns those whose run another process works on.

    Args:
        commands: parsed command lines (`runs.arguments.parse_args`).
        wait: wait for the other process instead.

    Raises:
        InputError: bad input of any of them.
    """
    use_own_folder()
    jobs, locked = [], []
    with contextlib.ExitStack() as locks:
        for args in commands:
            try:
                job = prepare(args, locks, wait)
            except LockedError:
                locked.append(args)
            else:
                jobs += [job] if job else []
        if jobs:
            train(jobs)
    return locked


def prepare(args: argparse.Namespace, locks: contextlib.ExitStack, wait: bool) -> Job | None:
    """Turn a command line into a job; None if there is nothing to train, as the run is complete or only tested.

    Args:
        args: the command line.
        locks: releases the run's lock at its end.
        wait: wait while another process works on the run; otherwise that is a LockedError.
    """
    cfg, run = configuration(args)
    refuse_calibrate(args, cfg)
    if args.eval_only:
        from runs.evaluate import evaluate

        evaluate(cfg, run, args)
        return None
    if cfg.TEST.SPLIT == "all":
        raise InputError(
            "TEST.SPLIT all tests on every labelled image, also those that are trained on; it goes with --eval-only"
        )
    default = run.folder("output_published" if args.published else "output")
    folder = Path(args.output_dir) if args.output_dir else default
    cfg = _with_folder(cfg, folder)
    settings, contents = Settings.of(cfg), Contents(cfg)

    def complete() -> bool:
        refuse_other_settings(settings, contents, folder)
        if not is_complete(folder):
            return False
        results = read_results(folder)
        refuse_other_calibration(args, results, folder)
        print(f"complete already: {run}\n{headline(results)}\nin '{folder}'; --overwrite runs it again")
        return True

    if not args.overwrite and complete():
        return None
    lock = RunLock(folder, wait)
    locks.callback(lock.release)
    if args.overwrite:
        clear_folder(folder)
    refuse_other_files(folder)
    if complete():  # another process may have completed it meanwhile
        return None
    job = Job(cfg, run, folder, lock, settings, args.calibrate)
    if args.no_train:
        build(job)
        return None
    return job


def train(jobs: Sequence[Job]) -> None:
    """Train, test and write results.json and the marker of each run.

    Raises:
        DivergedError: runs diverged; the others were carried out before.
    """
    from runs.plain import is_plain
    from trainers.stack import refuse_diverged

    plain = [job for job in jobs if is_plain(job.cfg.TRAINER.NAME)]
    tuned = [job for job in jobs if job not in plain]
    diverged: list[DivergedError] = []
    if tuned:
        with _keeping(diverged):
            _train_stack(tuned)
    for job in plain:  # built right before its training: Dassl's trainers draw from the global random generators
        with _keeping(diverged):
            trainer = build(job)
            trainer.train()
            finish(job, trainer, runs_in_stack=1)
    refuse_diverged(diverged)


@contextlib.contextmanager
def _keeping(diverged: list[DivergedError]) -> Iterator[None]:
    """Keep the error of a run that diverged, so that the other runs are carried out first."""
    try:
        yield
    except DivergedError as error:
        diverged.append(error)


def _train_stack(jobs: Sequence[Job]) -> None:
    from trainers.stack import train_stack

    trainers = {build(job): job for job in jobs}
    stacked = sum(trainer.stackable for trainer in trainers)

    def finished(trainer: Any) -> None:
        finish(trainers[trainer], trainer, stacked if trainer.stackable else 1)

    train_stack(list(trainers), finished)


def build(job: Job) -> Any:
    """Build a run's trainer; writes config.yaml, with what it uses, and log.txt, which also gets later output."""
    from dassl.engine import build_trainer
    from dassl.utils import collect_env_info, open_log, printing_to, set_random_seed
    from runs.plain import adapted

    _write_config(job, job.cfg)  # before the log: it identifies the folder as a run's
    log = open_log(str(job.folder))
    started = time.time()
    with printing_to(log):
        print(f"{job.run}\n{collect_env_info()}")
        set_random_seed(max(job.cfg.SEED, 0))
        trainer = adapted(build_trainer(job.cfg), job.cfg)
        _write_config(job, trainer.cfg)
        print(f"trainable parameters: {trainer.trainable_parameters:,}")
        if job.calibrate:
            check_folds(trainer)
    trainer.logged = lambda: printing_to(log)
    trainer.seconds_to_build = time.time() - started
    return trainer


def _write_config(job: Job, cfg: "CfgNode") -> None:
    with atomic_path(job.folder / CONFIG_FILE) as temporary:
        temporary.write_text(dump_cfg(cfg), encoding="utf-8")


def finish(job: Job, trainer: Any, runs_in_stack: int) -> None:
    """Write the results of a run that was trained and tested, then its marker."""
    from runs.plain import is_plain

    seconds = {"build": trainer.seconds_to_build, "train_and_test": time.time() - trainer.training_started}
    dataset = getattr(trainer.dm, "dataset", None)
    split, prompts = getattr(dataset, "split", None), getattr(trainer.method, "prompts_read", None)
    results = {
        **job.run.as_dict(),
        **({"folds": job.cfg.DATASET.FOLDS} if job.run.fold else {}),
        "variant": "published" if job.cfg.PUBLISHED else "clean",
        "metrics": with_harmonic_mean(trainer.evaluation),
        "trainable_parameters": trainer.trainable_parameters,
        "settings_digest": job.settings.digest,
        "split": split and split.about(),
        "images": trainer.image_notes,
        "prompts": prompts and {"file": prompts.source.name, "version": prompts.version, "digest": prompts.digest()},
        "loss_per_epoch": _epoch_means(trainer.history.get("train/loss", []), trainer.max_epoch),
        "seconds": {**{name: round(took, 2) for name, took in seconds.items()}, "runs_in_stack": runs_in_stack},
        "memory": peak_memory(trainer.device),
        "environment": environment(trainer.device),
    }
    with trainer.logged():
        # First, as a run that is interrupted here resumes from its checkpoint.
        results["calibration"] = None if is_plain(job.cfg.TRAINER.NAME) else calibration_of(trainer, job.calibrate)
        _write_bundle(job, trainer, results)
        _write_predictions(job, trainer)
        (job.folder / CHECKPOINT_FILE).unlink(missing_ok=True)
        write_results(job.folder, results)
        took = timedelta(seconds=round(sum(seconds.values())))
        print(f"{headline(results)}\ntook {took}; results in '{job.folder}'")
    job.lock.release()


def _write_predictions(job: Job, trainer: Any) -> None:
    """Write what was predicted for the test images; those of an earlier attempt are not kept."""
    path = job.folder / PREDICTIONS_FILE
    if trainer.predictions:
        write_predictions(path, trainer.predictions, trainer.dm.dataset)
        return
    path.unlink(missing_ok=True)
    if trainer.evaluation:
        print(f"the evaluator of {job.cfg.TRAINER.NAME} keeps no logits of the test images: no {path.name} is written")


def _write_bundle(job: Job, trainer: Any, results: dict) -> None:
    """Write the tuned model of a method; other trainers have no form that could be read back without their code."""
    from runs.plain import is_plain

    if is_plain(job.cfg.TRAINER.NAME):
        print(f"{job.cfg.TRAINER.NAME} is a Dassl trainer: no bundle is written, and predict.py cannot use this run")
        return
    from datasets.digests import content_digests
    from trainers.bundle import FOLDER, write_bundle
    from trainers.card import card

    dataset = trainer.dm.dataset
    images = {
        part: sorted(content_digests(item.impath for item in items or ()).values())
        for part, items in (("training_images", dataset.train_x), ("validation_images", dataset.val))
    }
    provenance = {**job.run.as_dict(), **images, "environment": results["environment"]}
    bundle = trainer.bundle(results["calibration"], provenance, metrics=results["metrics"])
    write_bundle(job.folder / FOLDER, bundle, card(bundle.about))


def _with_folder(cfg: "CfgNode", folder: Path) -> "CfgNode":
    cfg = cfg.clone()
    cfg.defrost()
    cfg.OUTPUT_DIR = str(folder)
    cfg.freeze()
    return cfg


def _epoch_means(history: Sequence[tuple[int, float]], epochs: int) -> list[float]:
    values = [value for _, value in history]
    steps = len(values) // epochs if epochs else 0
    return [round(sum(values[k : k + steps]) / steps, 6) for k in range(0, len(values), steps)] if steps else []
