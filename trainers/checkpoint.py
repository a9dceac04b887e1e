"""Files of what was learned: a few kilobytes, read without unpickling, refused where they do not belong."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dassl.errors import InputError
from dassl.utils import atomic_path, load_checkpoint

FILE = "model.pth"
STATE_FILE = "checkpoint.pth"
# What CoOp-style code stores beside the context, all of it frozen: word embeddings, which follow from the class names,
# and the zero-shot image tower.
DERIVED_KEYS = ("token_prefix", "token_suffix", "ZS_image_encoder.")


def save(path: Path, weights: dict, epoch: int, about: dict[str, Any]) -> None:
    """Write learned weights with what they belong to, atomically."""
    with atomic_path(path) as temporary:
        torch.save({"about": about, "epoch": epoch, "state_dict": weights}, temporary)


def find(directory: Path, epoch: int | None) -> Path:
    """The checkpoint in a folder: its model.pth, or CoOp-style prompt_learner/model.pth.tar-<epoch>.

    Raises:
        InputError: there is none.
    """
    coop_style = directory / "prompt_learner" / f"model.pth.tar-{epoch}"
    if epoch is not None and coop_style.is_file():
        return coop_style
    if (directory / FILE).is_file():
        return directory / FILE
    tried = [directory / FILE] + ([coop_style] if epoch is not None else [])
    places = " or ".join(f"'{path}'" for path in tried)
    raise InputError(f"no checkpoint at {places}; name the run's folder with --model-dir")


def load_into(module: nn.Module, path: Path, identity: dict[str, Any], epoch: int | None = None) -> dict[str, Any]:
    """Load learned weights into a module; returns what the file says of itself, for `compare`.

    Args:
        module: gets the weights.
        path: written by `save`, or by CoOp-style code.
        identity: what the file must agree on where it says so: method and backbone.
        epoch: the epoch the file must be of, if any was asked for.

    Raises:
        InputError: the checkpoint is of another method, backbone or epoch, or its weights do not fit.
    """
    stored = load_checkpoint(str(path))
    _check_identity(path, stored.get("about", {}), identity)
    if epoch is not None and stored.get("epoch", epoch) != epoch:
        raise InputError(f"checkpoint '{path}' is of epoch {stored['epoch']}, epoch {epoch} was asked for")
    weights = {k: v for k, v in stored.get("state_dict", {}).items() if not k.startswith(DERIVED_KEYS)}
    own = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in weights.items()}
    if own != found:
        raise InputError(f"checkpoint '{path}' holds {found}, but the method with these settings learns {own}")
    module.load_state_dict(weights)
    return stored.get("about", {})


def compare(about: dict[str, Any], classnames: list[str], settings: dict[str, Any], classes_matter: bool) -> None:
    """Say in what a checkpoint's classes and settings differ from a run's.

    Args:
        about: what the checkpoint says of itself; nothing, for one of CoOp-style code.
        classnames, settings: the run's.
        classes_matter: what was learned belongs to the classes that it was learned on.

    Raises:
        InputError: the classes differ and matter.
    """
    trained_on = about.get("classnames", classnames)
    if trained_on != classnames:
        if classes_matter:
            raise InputError(f"the checkpoint was learned on the classes {trained_on}, this run has {classnames}")
        print(f"note: learned on the classes {trained_on}, tested on {classnames}")
    stored = json.loads(about.get("settings", "{}"))
    for key in sorted(stored.keys() & settings.keys()):
        if stored[key] != json.loads(json.dumps(settings[key])):
            print(f"note: learned with {key} {stored[key]}, tested with {key} {settings[key]}")


def _check_identity(path: Path, about: dict[str, Any], identity: dict[str, Any]) -> None:
    for key, value in identity.items():
        if about.get(key, value) != value:
            raise InputError(f"checkpoint '{path}' is of {key} {about[key]}, this run has {key} {value}")


def save_state(directory: Path, about: dict, parts: dict[str, Any], state: dict[str, Any]) -> None:
    """Write all that an interrupted run needs to go on: the states of `parts`, and `state`."""
    states = {name: part.state_dict() for name, part in parts.items()}
    with atomic_path(directory / STATE_FILE) as temporary:
        torch.save({"about": about, **states, "state": state}, temporary)


def load_state(directory: Path, identity: dict, parts: dict[str, Any]) -> dict[str, Any] | None:
    """Restore an interrupted run's parts; None where there is nothing to go on from, or nothing usable."""
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
