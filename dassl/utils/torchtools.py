"""Checkpoints and parameter counts. Checkpoints are read without unpickling anything but tensors and containers."""

import os
from collections import OrderedDict, defaultdict
from collections.abc import Mapping
from copy import deepcopy
from io import BytesIO
from typing import Any

import torch
from torch import nn

from dassl.errors import InputError, first_line
from dassl.utils.tensors import state_dict_of, why_not_fitting, why_unusable
from dassl.utils.tools import atomic_path

__all__ = [
    "count_num_param",
    "load_checkpoint",
    "load_pretrained_weights",
    "open_all_layers",
    "open_specified_layers",
    "resume_from_checkpoint",
    "save_checkpoint",
]


# In upstream Dassl the state of a warm-up schedule contains the main schedule and its optimiser as objects. Checkpoints
# of CoOp-style code hold these objects beside tensors and containers; unpickling them runs no foreign code.
SAFE_CLASSES = (torch.optim.SGD, torch.optim.lr_scheduler.CosineAnnealingLR, defaultdict, dict)


def save_checkpoint(
    state: dict, save_dir: str, is_best: bool = False, remove_module_from_keys: bool = True, model_name: str = ""
) -> None:
    """Save `state` atomically as <save_dir>/model.pth.tar-<epoch>, or `model_name`.

    The file <save_dir>/checkpoint names the newest checkpoint.
    """
    if remove_module_from_keys:
        weights = state["state_dict"]
        state["state_dict"] = OrderedDict((key.removeprefix("module."), value) for key, value in weights.items())
    name = model_name or f"model.pth.tar-{state['epoch']}"
    save_atomically(state, os.path.join(save_dir, name))
    with atomic_path(os.path.join(save_dir, "checkpoint")) as temporary:
        temporary.write_text(name + "\n")
    if is_best:
        save_atomically(state, os.path.join(save_dir, "model-best.pth.tar"))
    print(f"Checkpoint saved to {os.path.join(save_dir, name)}")


def save_atomically(content: Any, path: str | os.PathLike) -> None:
    """Save what `torch.save` can, atomically; OutputError where the file cannot be written."""
    # torch's own writer turns a full disk into a RuntimeError without a reason.
    written = BytesIO()
    torch.save(content, written)
    with atomic_path(path) as temporary:
        temporary.write_bytes(written.getbuffer())


def load_checkpoint(fpath: str) -> dict:
    """Read a checkpoint onto the CPU.

    Raises:
        InputError: the file is missing or damaged, contains objects that are not safe to unpickle, or no dictionary.
    """
    if not os.path.exists(fpath):
        raise InputError(f"checkpoint '{fpath}' does not exist")
    try:
        with torch.serialization.safe_globals(list(SAFE_CLASSES)):
            stored = torch.load(fpath, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle can end in nearly any exception
        raise InputError(f"checkpoint '{fpath}' cannot be read safely: {first_line(error)}") from error
    if not isinstance(stored, dict):
        raise InputError(f"checkpoint '{fpath}' holds a {type(stored).__name__}, not a dictionary with a state dict")
    return stored


def load_weights(model: nn.Module, weights: Any, where: str) -> None:
    """Replace the weights of a model by those of a state dict, which must fit.

    Args:
        weights: what a checkpoint holds.
        where: the file, for the error message.

    Raises:
        InputError: they are no tensors of finite numbers, or names or shapes differ from the model's.
    """
    if problem := why_not_fitting(weights, model.state_dict()):
        raise InputError(f"checkpoint '{where}' does not fit the model: {problem}")
    model.load_state_dict(weights)


def restore(parts: Mapping[str, Any], states: Mapping[str, Any]) -> str:
    """Load states into objects with a `state_dict`, by name: into all of them, or into none.

    Returns:
        why a state does not fit; "" where all were loaded.
    """
    before = {name: deepcopy(part.state_dict()) for name, part in parts.items()}
    try:
        for name, part in parts.items():
            if isinstance(part, nn.Module) and (problem := why_not_fitting(states[name], before[name])):
                raise ValueError(f"{name}: {problem}")
            part.load_state_dict(states[name])
    except (LookupError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        for name, part in parts.items():
            part.load_state_dict(before[name])
        return first_line(error)
    return ""


def resume_from_checkpoint(
    fdir: str,
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None = None,
    scheduler: torch.optim.lr_scheduler.LRScheduler | None = None,
) -> int:
    """Load the newest checkpoint in a folder into model, optimiser and scheduler; return the epoch to continue with.

    Raises:
        InputError: the checkpoint is damaged or does not fit; nothing is changed then.
    """
    path = newest_checkpoint(fdir)
    checkpoint = load_checkpoint(path)
    parts = resumable_parts(checkpoint, model, optimizer, scheduler)
    epoch = checkpoint.get("epoch")
    problem = restore(parts, checkpoint) if type(epoch) is int else "it names no epoch"
    if problem:
        raise InputError(f"checkpoint '{path}' cannot be resumed from: {problem}")
    return checkpoint["epoch"]


def newest_checkpoint(fdir: str) -> str:
    """The path of the newest checkpoint in a folder, which the file "checkpoint" in it names.

    Raises:
        InputError: the file cannot be read or names something else than a file of the folder.
    """
    listed = os.path.join(fdir, "checkpoint")
    try:
        with open(listed, encoding="utf-8") as file:
            name = file.readline().strip()
    except (OSError, ValueError) as error:
        raise InputError(f"'{listed}' cannot be read: {first_line(error)}") from error
    if name != os.path.basename(name) or name in ("", ".", ".."):
        raise InputError(f"'{listed}' names no checkpoint of its folder")
    return os.path.join(fdir, name)


def resumable_parts(
    checkpoint: Mapping[str, Any], model: nn.Module, optimizer: Any = None, scheduler: Any = None
) -> dict[str, Any]:
    """The objects that a checkpoint of `save_checkpoint` restores, by its keys."""
    parts = {"state_dict": model, "optimizer": optimizer, "scheduler": scheduler}
    return {
        name: part
        for name, part in parts.items()
        if name == "state_dict" or (part is not None and checkpoint.get(name) is not None)
    }


def load_pretrained_weights(model: nn.Module, weight_path: str) -> None:
    """Load the weights whose names and shapes match the model's; print how many did."""
    checkpoint = load_checkpoint(weight_path)
    weights, own = state_dict_of(checkpoint, weight_path), model.state_dict()
    known = {key: value for key, value in weights.items() if key in own}
    if problem := next((f"'{key}' {why}" for key, value in known.items() if (why := why_unusable(value))), ""):
        raise InputError(f"the weights in '{weight_path}' cannot be used: {problem}")
    matching = {key: value for key, value in known.items() if own[key].shape == value.shape}
    own.update(matching)
    model.load_state_dict(own)
    if not matching:
        print(f"Cannot load {weight_path}: no weight has the name and shape of one in the model")
        return
    print(f"Loaded {len(matching)} of {len(weights)} weights from {weight_path}")


def count_num_param(model: nn.Module | list) -> int:
    """Count the parameters of a module, or of a list of parameter groups."""
    if isinstance(model, nn.Module):
        return sum(p.numel() for p in model.parameters())
    return sum(p.numel() for group in model for p in (group["params"] if isinstance(group, dict) else [group]))


def open_all_layers(model: nn.Module) -> None:
    """Make all layers trainable and set training mode."""
    model.train().requires_grad_(True)


def open_specified_layers(model: nn.Module, open_layers: str | list[str]) -> None:
    """Make only the named children trainable; freeze the others and set them to evaluation mode."""
    names = [open_layers] if isinstance(open_layers, str) else open_layers
    for name, child in model.named_children():
        child.train(name in names).requires_grad_(name in names)
