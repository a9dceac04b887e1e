"""Cross-fitting: logits of every training image by a model that was trained without it."""

import contextlib
import io
import tempfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from dassl.data.datasets import DatasetBase, Datum
from dassl.errors import DivergedError, InputError
from datasets.divide import ATTEMPTS, fold_numbers, units_per_class
from trainers.calibration import fit_temperature
from trainers.tuner import Tuner

FOLDS = 5
FITTED_ON = "cross-fitted training shots"


def cross_fitted_calibration(trainer: Tuner, folds: int = FOLDS) -> dict[str, Any]:
    """A temperature that is fitted on the training images of a trainer, as `Bundle.calibration` has it.

    The trainer stays as it is. For each fold a model with the same settings is trained on the images of the other
    folds; see `cross_fitted_logits`. The validation images of the trainer are those of every model.

    Raises:
        InputError: see `folds_of`.
        DivergedError: the training of a fold diverged.
    """
    items, fold_of = trainer.dm.dataset.train_x, planned_folds(trainer, folds)
    with tempfile.TemporaryDirectory() as scratch:

        def build(others: Sequence[Datum]) -> Tuner:
            return _for_other_images(trainer, others, tempfile.mkdtemp(dir=scratch))

        logits, labels = _logits_of_folds(build, items, fold_of)
    return {
        "temperature": fit_temperature(logits, labels),
        "fitted_on": FITTED_ON,
        "images": len(items),
        "folds": len(set(fold_of)),
    }


def cross_fitted_logits(
    build: Callable[[Sequence[Datum]], Tuner],
    items: Sequence[Datum],
    groups: Sequence[str] | None = None,
    folds: int = FOLDS,
    seed: int = 0,
) -> tuple[Tensor, Tensor]:
    """Logits of each image by a model that was trained on the images of the other folds.

    What the trainings print is not shown. A method that learns nothing is not trained.

    Args:
        build: makes a trainer for some of the images, with an output folder of its own.
        items: the N images.
        groups: the patient (N,) of each image; images of one patient are in one fold.
        folds: the most folds, and so trainings.
        seed: of the folds.

    Returns:
        Logits (N, C), fp32, and labels (N,), both on the CPU, in the order of `items`.

    Raises:
        InputError: see `folds_of`.
        DivergedError: the training of a fold diverged.
    """
    return _logits_of_folds(build, items, folds_of(items, groups, folds, seed))


def planned_folds(trainer: Tuner, folds: int = FOLDS) -> list[int]:
    """The fold (N,) of each training image of a trainer, as `cross_fitted_calibration` uses them.

    Raises:
        InputError: see `folds_of`.
    """
    items = trainer.dm.dataset.train_x
    return folds_of(items, trainer.dm.dataset.patients_of(items), folds, max(trainer.cfg.SEED, 0))


def _logits_of_folds(
    build: Callable[[Sequence[Datum]], Tuner], items: Sequence[Datum], fold_of: Sequence[int]
) -> tuple[Tensor, Tensor]:
    found: dict[int, Tensor] = {}
    count = len(set(fold_of))
    for fold in tqdm(range(count), desc="cross-fitting", unit="fold", delay=2):
        held = [place for place, of_item in enumerate(fold_of) if of_item == fold]
        others = [item for item, of_item in zip(items, fold_of, strict=True) if of_item != fold]
        with contextlib.redirect_stdout(io.StringIO()):
            trainer = build(others)
            try:
                if trainer.trainable_parameters:
                    trainer.train()
            except DivergedError as error:
                raise DivergedError(f"cross-fitting, fold {fold + 1} of {count}: {error}") from error
            logits, _ = trainer.logits_of([items[place] for place in held], "held-out images")
        found |= dict(zip(held, logits.float().cpu(), strict=True))
    labels = torch.tensor([item.label for item in items])
    return torch.stack([found[place] for place in range(len(items))]), labels


def folds_of(
    items: Sequence[Datum], groups: Sequence[str] | None = None, folds: int = FOLDS, seed: int = 0
) -> list[int]:
    """The fold (N,) of each image, counted from 0: stratified by class, with all images of a patient in one fold.

    There are as many folds as asked for, or as the smallest class has images (or patients) where these are fewer.

    Raises:
        InputError: a class has images of fewer than 2 patients, or one image only, so that no other could train it.
    """
    names = [str(place) for place in range(len(items))]  # paths need not differ
    entries = [(name, item.label, item.classname) for name, item in zip(names, items, strict=True)]
    patients = None if groups is None else dict(zip(names, groups, strict=True))
    unit = "images" if patients is None else "patients"
    units = units_per_class(entries, patients)
    if not units:
        raise InputError("cross-fitting needs training images, and there are none")
    name, least = min(units.items(), key=lambda pair: pair[1])
    if least < 2:
        raise InputError(
            f"cross-fitting needs 2 training {unit} of each class, and class '{name}' has {least}: a model that is "
            "tested on it would be trained without the class; use more shots, or calibrate on validation shots"
        )
    for attempt in range(ATTEMPTS):
        fold_of = fold_numbers(entries, patients, min(folds, least), seed + attempt)
        in_folds = defaultdict(set)
        for item, fold in zip(items, fold_of, strict=True):
            in_folds[item.label].add(fold)
        if all(len(of_class) > 1 for of_class in in_folds.values()):
            return np.unique(fold_of, return_inverse=True)[1].tolist()
    raise InputError(
        "cross-fitting: the patients cannot be divided so that each model is trained on images of every class; "
        "use images of more patients, or calibrate on validation shots"
    )


def _for_other_images(trainer: Tuner, items: Sequence[Datum], folder: str) -> Tuner:
    """A trainer with the same settings for other training images; it tests nothing, and writes to a folder."""
    dataset = trainer.dm.dataset
    subset = DatasetBase(list(items), val=dataset.val, test=[], classnames=dataset.classnames)
    subset.prompts = dataset.prompts
    cfg = trainer.cfg.clone()
    cfg.defrost()
    cfg.OUTPUT_DIR, cfg.RESUME = folder, ""
    cfg.TEST.NO_TEST, cfg.TRAIN.CHECKPOINT_FREQ = True, 0
    cfg.PROTOCOL = "few_shot"  # there are no new classes to be tested
    cfg.freeze()
    return type(trainer)(cfg, subset)
