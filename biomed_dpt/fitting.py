"""One fit of the classifier: the configuration, the folder of the fit, the training, and the bundle that it gives."""

import contextlib
import itertools
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from yacs.config import CfgNode

from clip import Backbone
from configs import Choice, build_cfg
from dassl.config import dump_cfg
from dassl.engine import TRAINER_REGISTRY
from dassl.errors import InputError, OutputError, shown, unknown_name
from dassl.utils import atomic_path, open_log, printing_to, seeded
from datasets.digests import content_digests
from datasets.given import Given
from datasets.images import ImageReader, image_reader
from runs.environment import environment
from runs.folder import CHECKPOINT_FILE, CONFIG_FILE
from runs.run import ALL_SHOTS, Run
from trainers.bundle import FOLDER, Bundle, write_bundle
from trainers.card import card
from trainers.registry import METHOD_REGISTRY
from trainers.shared_backbone import shared_backbone, with_input_of
from trainers.tuner import Tuner

GIVEN_FILE = Path(__file__).with_name("given.yaml")
# Settings that arguments of the classifier decide.
ARGUMENTS = {
    "TRAINER.NAME": "method",
    "MODEL.BACKBONE.NAME": "backbone",
    "MODEL.BACKBONE.PATH": "backbone_path",
    "DATASET.PROMPTS": "prompts",
    "DATASET.CLASSES": "classes",
    "DATASET.NUM_SHOTS": "shots",
    "DATASET.GROUP": "groups of fit",
    "SEED": "seed",
    "OUTPUT_DIR": "workdir",
    "VERBOSE": "verbose",
}
# Settings of runs on the data sets of the command line.
OF_RUNS = ("DATASET.", "PROTOCOL", "PUBLISHED", "RESUME", "TEST.SPLIT", "TEST.NO_TEST")
FIT = "fit"  # the entry of bundle.json with what `FewShotClassifier.load` restores
RESTORED = ("shots", "validation", "seed")  # of it, the numbers; there are also "labels" and "settings"
Callback = Callable[[dict[str, float]], object]


@dataclass(frozen=True)
class Images:
    """The images of a fit: (path, label) of those that are trained on, and of those that are kept for validation."""

    train: Sequence[tuple[str, int]]
    validation: Sequence[tuple[str, int]]
    classnames: Sequence[str]
    prompts: str
    patients: Sequence[str] | None = None  # of the images that are trained on


def configuration(
    method: str, backbone: str, backbone_path: str, settings: Mapping[str, Any], shots: int | None, seed: int
) -> CfgNode:
    """The configuration of a fit, built and checked as that of a run.

    Raises:
        InputError: unknown names, or settings that `train.py` would refuse, or that an argument decides.
    """
    for key in settings:
        if key in ARGUMENTS:
            raise InputError(f"settings: {key} is set by the argument `{ARGUMENTS[key]}`")
        if str(key).startswith(OF_RUNS) and key != "DATASET.DUPLICATES":
            raise InputError(f"settings: {shown(key)} has no effect: it is a setting of runs on a data set (train.py)")
    choice = Choice(
        method,
        backbone,
        dataset_config_file=str(GIVEN_FILE),
        shots=ALL_SHOTS if shots is None else shots,
        seed=seed,
        opts=[part for pair in settings.items() for part in pair],
        opts_are="settings",
    )
    if choice.trainer not in METHOD_REGISTRY:
        raise unknown_name("method", choice.trainer, METHOD_REGISTRY.registered_names())
    return _with(build_cfg(choice), **{"MODEL.BACKBONE.PATH": os.fspath(backbone_path)})


def _with(cfg: CfgNode, **values: Any) -> CfgNode:
    cfg = cfg.clone()
    cfg.defrost()
    for key, value in values.items():
        *nodes, name = key.split(".")
        node: Any = cfg
        for part in nodes:
            node = node[part]
        node[name] = value
    cfg.freeze()
    return cfg


@contextlib.contextmanager
def fit_folder(workdir: str | os.PathLike | None) -> Iterator[Path]:
    """A folder for one fit: a new one in `workdir`, fit1, fit2 …, or a temporary one that is removed at the end.

    Raises:
        OutputError: it cannot be made.
    """
    if workdir is None:
        with tempfile.TemporaryDirectory(prefix="few-shot-fit-") as name:
            yield Path(name)
        return
    for number in itertools.count(1):
        folder = Path(workdir) / f"fit{number}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise OutputError(folder, error) from error
        else:
            yield folder
            return


@contextlib.contextmanager
def output(verbose: int, log_folder: Path | None = None) -> Iterator[None]:
    """Silence stdout and stderr if `verbose` is 0, and copy what is printed to log.txt if a folder is given."""
    with contextlib.ExitStack() as stack:
        if not verbose:
            nowhere = stack.enter_context(open(os.devnull, "w", encoding="utf-8"))
            stack.enter_context(contextlib.redirect_stdout(nowhere))
            stack.enter_context(contextlib.redirect_stderr(nowhere))
        if log_folder:
            log = open_log(str(log_folder))
            stack.callback(log.close)
            stack.enter_context(printing_to(log))
        yield


def train(
    cfg: CfgNode,
    folder: Path,
    images: Images,
    callbacks: Sequence[Callback],
    about: Mapping[str, Any],
    cross_fit: bool,
    keep: bool,
) -> tuple[Tuner, Bundle]:
    """Train a method as its run does; returns the trainer and the bundle.

    Args:
        cfg: from `configuration`.
        folder: the empty folder of the fit.
        images: what is trained on.
        callbacks: called with the metrics of each epoch; True, to stop.
        about: entries of bundle.json, for `read_fit`.
        cross_fit: fit the temperature on the training images, by cross-fitting, instead of on validation images.
        keep: write config.yaml and the bundle to the folder, beside the model and the log.
    """
    tested = bool(images.validation)
    cfg = _with(cfg, **{"OUTPUT_DIR": str(folder), "TEST.SPLIT": "val", "TEST.NO_TEST": not tested})
    given = Given(cfg, images.train, images.validation, images.classnames, images.prompts, images.patients)
    devices = range(torch.cuda.device_count())
    with torch.random.fork_rng(devices), seeded(max(cfg.SEED, 0)):  # the caller's random numbers stay as they are
        build: Any = TRAINER_REGISTRY.get(cfg.TRAINER.NAME)
        trainer: Tuner = build(cfg, dataset=given)
        trainer.on_epoch_end = _watch(trainer, callbacks)
        if trainer.trainable_parameters or tested:
            trainer.train()
        bundle = _bundle(trainer, images, about, cross_fit)
    (folder / CHECKPOINT_FILE).unlink(missing_ok=True)
    if keep:
        with atomic_path(folder / CONFIG_FILE) as temporary:
            temporary.write_text(dump_cfg(trainer.cfg), encoding="utf-8")
        write_bundle(folder / FOLDER, bundle, card(bundle.about))
    return trainer, bundle


def _watch(trainer: Tuner, callbacks: Sequence[Callback]) -> Callable[[dict[str, float]], bool]:
    """What the trainer calls after each epoch; True, to stop, where a callback returns True."""

    def on_epoch_end(metrics: dict[str, float]) -> bool:
        if callbacks and trainer.dm.dataset.val and trainer.method.image_tower_is_frozen:
            with output(0):  # it is in the metrics
                metrics = {**metrics, "validation_accuracy": trainer.test("val")}
        return True in [callback(dict(metrics)) for callback in callbacks]

    return on_epoch_end


def as_functions(callbacks: Iterable[Any]) -> list[Callback]:
    """The callbacks of a fit as functions that print where they would without it, also if the fit prints nothing.

    Args:
        callbacks: functions of the metrics, or objects with `on_epoch_end(metrics)`.
    """
    stdout, stderr = sys.stdout, sys.stderr

    def speaking(function: Callback) -> Callback:
        def call(metrics: dict[str, float]) -> bool:
            with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
                return function(metrics) is True

        return call

    return [speaking(getattr(callback, "on_epoch_end", callback)) for callback in callbacks]


def _bundle(trainer: Tuner, images: Images, about: Mapping[str, Any], cross_fit: bool) -> Bundle:
    """The bundle of a trained method, as it would be read back from its files."""
    cfg = trainer.cfg
    name, backbone = cfg.TRAINER.NAME, cfg.MODEL.BACKBONE.NAME
    run = Run(cfg.PROTOCOL, "given", backbone, name, cfg.DATASET.NUM_SHOTS, cfg.SEED)
    digests = {
        part: sorted(content_digests(path for path, _ in given).values())
        for part, given in (("training_images", images.train), ("validation_images", images.validation))
    }
    provenance = {**run.as_dict(), **digests, "environment": environment(trainer.device)}
    metrics = getattr(trainer, "evaluation", {})
    made = trainer.bundle(_calibration(trainer, cross_fit), provenance, metrics=metrics, **{FIT: dict(about)})
    tensors = {name: value.detach().cpu().clone() for name, value in made.tensors.items()}
    plain = json.dumps(made.about, default=lambda value: value.item() if hasattr(value, "item") else str(value))
    return Bundle(json.loads(plain), tensors)


def _calibration(trainer: Tuner, cross_fit: bool) -> dict[str, Any]:
    if not cross_fit:
        return trainer.calibration()
    from trainers.crossfit import cross_fitted_calibration

    return cross_fitted_calibration(trainer)


def read_fit(bundle: Bundle) -> tuple[list[Any], dict[str, Any]]:
    """The label of each class, and arguments of the classifier; of the bundle of a run, the names and no arguments.

    Raises:
        InputError: they have another form than a fit writes.
    """
    about = bundle.about.get(FIT, {"labels": bundle.classnames})
    labels, settings = (about.get("labels"), about.get("settings", {})) if isinstance(about, dict) else (None, None)
    labels = labels if isinstance(labels, list) else []
    kinds = {type(label) for label in labels}
    fits = len(kinds) == 1 and kinds <= {str, int, float, bool} and isinstance(settings, dict)
    if not fits or len({*labels}) < len(labels) or len(labels) != len(bundle.classnames):
        raise InputError(f"the bundle '{bundle.where}': '{FIT}' is {shown(about)}; make the bundle again")
    numbers = {name: about[name] for name in RESTORED if isinstance(about.get(name), int | float)}
    return labels, {**numbers, "settings": settings or None}


def frozen(cfg: CfgNode) -> tuple[Backbone, ImageReader, Any]:
    """The backbone of a configuration, the reader of images, and the transform of test images."""
    from dassl.data.transforms import build_transform  # torchvision takes seconds to load

    device = torch.device("cuda" if torch.cuda.is_available() and cfg.USE_CUDA else "cpu")
    backbone = shared_backbone(cfg, device)
    return backbone, image_reader(Given, cfg), build_transform(with_input_of(backbone, cfg), is_train=False)
