"""Tests a stored model: train.py --eval-only."""

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from dassl.errors import InputError, OutputError
from dassl.utils import write_json
from runs.environment import environment
from runs.folder import PREDICTIONS_FILE, holds_a_run
from runs.memory import peak_memory
from runs.plain import adapted
from runs.predictions import write_predictions
from runs.results import headline, with_harmonic_mean
from runs.run import Run

if TYPE_CHECKING:
    from yacs.config import CfgNode

METRICS_FILE = "metrics.json"


def evaluate(cfg: "CfgNode", run: Run, args: argparse.Namespace) -> None:
    """Test a stored model and print the accuracies; with --output-dir, write metrics.json and predictions.csv there.

    Raises:
        InputError: no model is named or there is none, or the folder holds a run or files of these names.
        OutputError: the folder cannot be written.
    """
    from dassl.engine import build_trainer

    folder = Path(args.output_dir) if args.output_dir else None
    if folder is not None:
        _make_folder(folder, args.overwrite)
    trainer = adapted(build_trainer(cfg), cfg)
    if trainer.trainable_parameters:
        if not args.model_dir:
            raise InputError("--eval-only needs --model-dir, the folder of a trained model")
        trainer.load_model(args.model_dir, epoch=args.load_epoch)
    metrics = with_harmonic_mean(trainer.evaluate())
    print(headline({"metrics": metrics}))
    if folder is None:
        return
    if trainer.predictions:
        write_predictions(folder / PREDICTIONS_FILE, trainer.predictions, trainer.dm.dataset)
    about = {
        **run.as_dict(),
        "model": args.model_dir,
        "images": cfg.TEST.SPLIT,
        "metrics": metrics,
        "memory": peak_memory(trainer.device),
        "environment": environment(trainer.device),
    }
    write_json(about, str(folder / METRICS_FILE))
    print(f"{METRICS_FILE} and {PREDICTIONS_FILE} are in '{folder}'" if trainer.predictions else f"see '{folder}'")


def _make_folder(folder: Path, overwrite: bool) -> None:
    """Make the folder, before the long work, and see that it can be written and that nothing in it is lost.

    Raises:
        InputError: it holds a run, or a file that would be replaced without --overwrite.
        OutputError: it cannot be made or written.
    """
    if folder.is_dir() and holds_a_run(folder):
        raise InputError(f"--eval-only: '{folder}' holds a run; name another folder with --output-dir")
    found = [name for name in (METRICS_FILE, PREDICTIONS_FILE) if (folder / name).exists()]
    if found and not overwrite:
        raise InputError(
            f"--eval-only: '{folder}' holds {' and '.join(found)}; --overwrite replaces them, or name another folder"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise OutputError(folder, error) from error
