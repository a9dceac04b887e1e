"""Checkpoints: small files, read without unpickling, refused where they do not fit."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dassl.config.schema import defaults_of
from dassl.errors import InputError, first_line, shown
from dassl.utils import load_checkpoint
from dassl.utils.tensors import digest_of, listed, state_dict_of, why_not_fitting, why_unusable
from dassl.utils.torchtools import restore, save_atomically
from trainers.official import learned_weights
from trainers.settings import VERSION, Settings, in_todays_words

if TYPE_CHECKING:
    from trainers.method import Method

FILE = "model.pth"
STATE_FILE = "checkpoint.pth"
BEST_FILE = "prompt_learner/model-best.pth.tar"  # what CoOp-style code loads where no epoch is asked for


def name_of_epoch(epoch: int) -> str:
    """Where the checkpoint of an epoch, counted from 1, lies in a run's folder; the place that CoOp-style code uses."""
    return f"prompt_learner/model.pth.tar-{epoch}"


def save(path: Path, weights: dict, epoch: int, about: dict[str, Any]) -> None:
    """Write weights, with what they belong to and a digest, atomically."""
    save_atomically({"about": about, "epoch": epoch, "digest": digest_of(dict(weights)), "state_dict": weights}, path)


def settings_of(config: Settings) -> dict[str, Any]:
    """The settings of a method as a checkpoint holds them."""
    return {"settings": json.dumps(asdict(config)), "settings_version": VERSION}


def find(directory: Path, epoch: int | None) -> Path:
    """The checkpoint in a run's folder: that of an epoch, if one is asked for and there, else model.pth.

    In a folder of CoOp-style code, which has no model.pth, it is the best one, or the only one.

    Raises:
        InputError: there is none, or several and no epoch is asked for.
    """
    tried = [directory / name_of_epoch(epoch)] if epoch is not None else []
    tried += [directory / FILE]
    tried += [directory / BEST_FILE] if epoch is None else []
    if found := next((path for path in tried if path.is_file()), None):
        return found
    of_epochs = sorted((directory / BEST_FILE).parent.glob("model.pth.tar-*")) if epoch is None else []
    if len(of_epochs) == 1:
        return of_epochs[0]
    if of_epochs:
        raise InputError(
            f"'{directory}' has checkpoints of several epochs: {listed([path.name for path in of_epochs])}; choose one "
            "with --load-epoch"
        )
    places = " or ".join(f"'{path}'" for path in tried)
    raise InputError(f"no checkpoint at {places}; name the run's folder with --model-dir")


def load_into(
    module: "Method",
    path: Path,
    identity: dict[str, Any],
    epoch: int | None = None,
    content: dict | None = None,
) -> dict[str, Any]:
    """Load a checkpoint into a module; returns what the file says about itself, for `compare`.

    Args:
        module: gets the weights.
        path: written by `save`, or by other code that `trainers.official` knows.
        identity: method and backbone; the file must agree if it names them.
        epoch: the epoch of the file, if one was asked for.
        content: what `load_checkpoint` read from the file; it is read if this is not given.

    Raises:
        InputError: the checkpoint is of another method, backbone or epoch, or its weights do not fit.
    """
    stored = load_checkpoint(str(path)) if content is None else content
    about = about_of(stored, path)
    _check_identity(path, about, identity)
    of_epoch = stored.get("epoch")
    if epoch is not None and type(of_epoch) is int and of_epoch != epoch:
        raise InputError(f"checkpoint '{path}' is of epoch {of_epoch}, epoch {epoch} was asked for")
    all_weights = state_dict_of(stored, path)
    weights = learned_weights(all_weights, module, path)
    if problem := next((f"'{name}' {why}" for name, value in weights.items() if (why := why_unusable(value))), ""):
        raise InputError(f"checkpoint '{path}' cannot be used: {problem}")
    module.expect({name: tuple(value.shape) for name, value in weights.items()})
    own = module.state_dict()
    if problem := why_not_fitting(weights, own):
        raise InputError(f"checkpoint '{path}' does not fit the method with these settings: {problem}")
    if "digest" in stored and stored["digest"] != digest_of(dict(all_weights)):
        raise InputError(f"checkpoint '{path}' is damaged: its digest is wrong; train again, or restore the file")
    module.load_state_dict(weights)
    return about


def about_of(stored: dict, path: Path) -> dict[str, Any]:
    """What a checkpoint says about itself, its settings as a dictionary; nothing else for one of CoOp-style code.

    Raises:
        InputError: it says something of another form.
    """
    about = stored.get("about", {})
    kinds = {"method": str, "backbone": str, "classnames": list, "settings": str, "settings_version": int}
    if not isinstance(about, dict) or any(not isinstance(about.get(key, kind()), kind) for key, kind in kinds.items()):
        raise InputError(f"checkpoint '{path}' is damaged: what it says about itself has another form")
    try:
        settings = json.loads(about.get("settings", "{}"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"checkpoint '{path}' is damaged: its settings are no JSON") from error
    return {**about, "settings": settings if isinstance(settings, dict) else {}}


def compare(about: dict[str, Any], classnames: list[str], config: Settings, classes_matter: bool) -> None:
    """Print how the classes and settings of a checkpoint differ from those of a run.

    Args:
        about: what the checkpoint says about itself, as `load_into` returns it.
        classnames, config: classes and settings of the run.
        classes_matter: the checkpoint can only be used with the classes that it was trained on.

    Raises:
        InputError: the classes differ and matter.
    """
    trained_on = about.get("classnames", classnames)
    if trained_on != classnames:
        if classes_matter:
            raise InputError(
                f"the checkpoint was trained on the classes {shown(trained_on, 400)}, this run has "
                f"{shown(classnames, 400)}"
            )
        print(f"note: trained on the classes {shown(trained_on, 400)}, tested on {shown(classnames, 400)}")
    settings, stored = asdict(config), about["settings"]
    if about.get("settings_version", 1) < VERSION:
        stored = in_todays_words(stored, defaults_of(type(config)))
    for key in sorted(stored.keys() & settings.keys()):
        if stored[key] != json.loads(json.dumps(settings[key])):
            print(f"note: trained with {key} {stored[key]}, tested with {key} {settings[key]}")


def _check_identity(path: Path, about: dict[str, Any], identity: dict[str, Any]) -> None:
    for key, value in identity.items():
        if about.get(key, value) != value:
            raise InputError(f"checkpoint '{path}' is of {key} {about[key][:120]}, this run has {key} {value}")


def save_state(directory: Path, about: dict, settings: dict[str, str], parts: dict[str, Any], state: dict) -> None:
    """Write what an interrupted run resumes from: the states of `parts`, and `state`."""
    states = {name: part.state_dict() for name, part in parts.items()}
    content = {"about": about, "settings": settings, **states, "state": state}
    save_atomically({**content, "digest": digest_of(content)}, directory / STATE_FILE)


def load_state(
    directory: Path,
    identity: dict[str, Any],
    parts: dict[str, Any],
    epochs: int,
    refuse_other: Callable[[Any], None] = lambda settings: None,
) -> dict[str, Any] | None:
    """Restore the parts of an interrupted run and return its `state`; None if there is no usable file.

    A damaged file is reported, and changes nothing.

    Args:
        directory: the folder of the interrupted run.
        identity: method and backbone, as in `load_into`.
        parts: as `save_state` got them.
        epochs: the length of the training.
        refuse_other: gets the stored settings, None where the file has none, and refuses those of another run.

    Raises:
        InputError: the state is that of a run of another method or backbone, or with other settings.
    """
    path = directory / STATE_FILE
    if not path.exists():
        return None
    try:
        stored = load_checkpoint(str(path))
        _check_state(stored, path, epochs)
        about = about_of(stored, path)
    except InputError as error:
        print(f"{error}; starting from the first epoch")
        return None
    _check_identity(path, about, identity)
    refuse_other(stored.get("settings"))
    if problem := restore(parts, stored):
        print(f"the state in '{path}' does not fit this run ({problem}); starting from the first epoch")
        return None
    return stored["state"]


def _check_state(stored: dict, path: Path, epochs: int) -> None:
    """An InputError where the file's digest is wrong, or what every state has is missing or of another type."""
    content = {name: value for name, value in stored.items() if name != "digest"}
    try:
        intact = "digest" not in stored or stored["digest"] == digest_of(content)
        state = stored["state"]
        epoch, best, history = (state[name] for name in ("epoch", "best_result", "history"))
        intact = intact and type(epoch) is int and 0 < epoch <= epochs and isinstance(best, int | float)
        intact = intact and all(type(step) is int and isinstance(loss, float) for step, loss in history)
        intact = intact and isinstance(stored["about"], dict) and isinstance(stored.get("settings", {}), dict)
    except (LookupError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"the state in '{path}' is damaged ({first_line(error)})") from error
    if not intact:
        raise InputError(f"the state in '{path}' is damaged")
