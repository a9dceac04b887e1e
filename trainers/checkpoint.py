"""Checkpoints: small files, read without unpickling, refused where they do not fit."""

import json
from collections.abc import Container
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from dassl.config.schema import defaults_of
from dassl.errors import InputError
from dassl.utils import atomic_path, load_checkpoint
from trainers.settings import VERSION, Settings, in_todays_words

if TYPE_CHECKING:
    from trainers.method import Method

FILE = "model.pth"
STATE_FILE = "checkpoint.pth"
# Frozen weights that CoOp-style code stores beside the context: word embeddings, which follow from the class names, and
# the zero-shot image tower.
# Modules of a method whose weights were stored, or are stored by CoOp-style code, without the module's name.
FORMER_ROOTS = ("context", "tokens", "adapter", "cache", "linear", "lora")
DERIVED_KEYS = ("token_prefix", "token_suffix", "ZS_image_encoder.")


def name_of_epoch(epoch: int) -> str:
    """Where the checkpoint of an epoch, counted from 1, lies in a run's folder; the place that CoOp-style code uses."""
    return f"prompt_learner/model.pth.tar-{epoch}"


def save(path: Path, weights: dict, epoch: int, about: dict[str, Any]) -> None:
    """Write weights, with what they belong to, atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        torch.save({"about": about, "epoch": epoch, "state_dict": weights}, temporary)


def settings_of(config: Settings) -> dict[str, Any]:
    """The settings of a method as a checkpoint holds them."""
    return {"settings": json.dumps(asdict(config)), "settings_version": VERSION}


def find(directory: Path, epoch: int | None) -> Path:
    """The checkpoint in a run's folder: that of an epoch, if one is asked for and there, else model.pth.

    Raises:
        InputError: there is none.
    """
    of_epoch = directory / name_of_epoch(epoch or 0)
    if epoch is not None and of_epoch.is_file():
        return of_epoch
    if (directory / FILE).is_file():
        return directory / FILE
    tried = [directory / FILE] + ([of_epoch] if epoch is not None else [])
    places = " or ".join(f"'{path}'" for path in tried)
    raise InputError(f"no checkpoint at {places}; name the run's folder with --model-dir")


def load_into(module: "Method", path: Path, identity: dict[str, Any], epoch: int | None = None) -> dict[str, Any]:
    """Load a checkpoint into a module; returns what the file says about itself, for `compare`.

    Args:
        module: gets the weights.
        path: written by `save`, or by CoOp-style code.
        identity: method and backbone; the file must agree if it names them.
        epoch: the epoch of the file, if one was asked for.

    Raises:
        InputError: the checkpoint is of another method, backbone or epoch, or its weights do not fit.
    """
    stored = load_checkpoint(str(path))
    _check_identity(path, stored.get("about", {}), identity)
    if epoch is not None and stored.get("epoch", epoch) != epoch:
        raise InputError(f"checkpoint '{path}' is of epoch {stored['epoch']}, epoch {epoch} was asked for")
    weights = {k: v for k, v in stored.get("state_dict", {}).items() if not k.startswith(DERIVED_KEYS)}
    names = frozenset(module.state_dict())
    weights = {_current_name(name, names): value for name, value in weights.items()}
    found = {name: tuple(value.shape) for name, value in weights.items()}
    module.expect(found)
    own = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    if own != found:
        raise InputError(f"checkpoint '{path}' holds {found}, but the method has {own} with these settings")
    module.load_state_dict(weights)
    return stored.get("about", {})


def _current_name(name: str, own: Container[str]) -> str:
    """The name in the module of a weight that older versions and CoOp-style code store without its prefix."""
    if name in own:
        return name
    prefixed = [f"{prefix}.{name}" for prefix in FORMER_ROOTS if f"{prefix}.{name}" in own]
    return prefixed[0] if prefixed else name


def compare(about: dict[str, Any], classnames: list[str], config: Settings, classes_matter: bool) -> None:
    """Print how the classes and settings of a checkpoint differ from those of a run.

    Args:
        about: what the checkpoint says about itself; empty for one of CoOp-style code.
        classnames, config: classes and settings of the run.
        classes_matter: the checkpoint can only be used with the classes that it was trained on.

    Raises:
        InputError: the classes differ and matter.
    """
    trained_on = about.get("classnames", classnames)
    if trained_on != classnames:
        if classes_matter:
            raise InputError(f"the checkpoint was trained on the classes {trained_on}, this run has {classnames}")
        print(f"note: trained on the classes {trained_on}, tested on {classnames}")
    settings, stored = asdict(config), json.loads(about.get("settings", "{}"))
    if about.get("settings_version", 1) < VERSION:
        stored = in_todays_words(stored, defaults_of(type(config)))
    for key in sorted(stored.keys() & settings.keys()):
        if stored[key] != json.loads(json.dumps(settings[key])):
            print(f"note: trained with {key} {stored[key]}, tested with {key} {settings[key]}")


def _check_identity(path: Path, about: dict[str, Any], identity: dict[str, Any]) -> None:
    for key, value in identity.items():
        if about.get(key, value) != value:
            raise InputError(f"checkpoint '{path}' is of {key} {about[key]}, this run has {key} {value}")


def save_state(directory: Path, about: dict, parts: dict[str, Any], state: dict[str, Any]) -> None:
    """Write what an interrupted run resumes from: the states of `parts`, and `state`."""
    states = {name: part.state_dict() for name, part in parts.items()}
    with atomic_path(directory / STATE_FILE) as temporary:
        torch.save({"about": about, **states, "state": state}, temporary)


def load_state(directory: Path, identity: dict, parts: dict[str, Any]) -> dict[str, Any] | None:
    """Restore the parts of an interrupted run and return its `state`; None if there is no usable file."""
    path = directory / STATE_FILE
    if not path.is_file():
        return None
    try:
        stored = load_checkpoint(str(path))
    except InputError as error:
        print(f"{error}; starting from the first epoch")
        return None
    _check_identity(path, stored["about"], identity)
    for name, part in parts.items():
        part.load_state_dict(stored[name])
    return stored["state"]
