"""--calibrate: a run's temperature is fitted by cross-fitting on its training images."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dassl.errors import InputError

if TYPE_CHECKING:
    from yacs.config import CfgNode


def refuse_calibrate(args: argparse.Namespace, cfg: "CfgNode") -> None:
    """Refuse --calibrate where no method is trained.

    Raises:
        InputError: with the reason.
    """
    from runs.plain import is_plain

    if args.calibrate and (args.eval_only or args.no_train):
        raise InputError("--calibrate needs a training; leave out --eval-only and --no-train")
    if args.calibrate and is_plain(cfg.TRAINER.NAME):
        raise InputError(f"{cfg.TRAINER.NAME} is a Dassl trainer, which leaves no bundle; leave out --calibrate")


def refuse_other_calibration(args: argparse.Namespace, results: dict, folder: Path) -> None:
    """Refuse --calibrate for a complete run that was not calibrated by cross-fitting.

    Raises:
        InputError: with what to do.
    """
    if args.calibrate and not (results.get("calibration") or {}).get("folds"):
        raise InputError(
            f"the run in '{folder}' is complete, and it was not calibrated by cross-fitting; --overwrite runs it again "
            "with --calibrate"
        )


def check_folds(trainer: Any) -> None:
    """Say how many trainings --calibrate adds.

    Raises:
        InputError: the training images cannot be divided into folds.
    """
    from trainers.crossfit import planned_folds

    folds = len(set(planned_folds(trainer)))
    print(f"--calibrate: {folds} more models are trained, each without one of {folds} folds of the training images")


def calibration_of(trainer: Any, cross_fit: bool) -> dict[str, Any]:
    """The calibration of a trained method, for its bundle and results: by cross-fitting or on validation shots."""
    from trainers.crossfit import cross_fitted_calibration

    return cross_fitted_calibration(trainer) if cross_fit else trainer.calibration()
