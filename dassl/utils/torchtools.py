"""Checkpoints and parameter counts. Checkpoints are read without unpickling anything but tensors and containers."""

import os
import pickle
from collections import OrderedDict, defaultdict

import torch
from torch import nn

from dassl.errors import InputError
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
    with atomic_path(os.path.join(save_dir, name)) as temporary:
        torch.save(state, temporary)
    with atomic_path(os.path.join(save_dir, "checkpoint")) as temporary:
        temporary.write_text(name + "\n")
    if is_best:
        with atomic_path(os.path.join(save_dir, "model-best.pth.tar")) as temporary:
            torch.save(state, temporary)
    print(f"Checkpoint saved to {os.path.join(save_dir, name)}")


def load_checkpoint(fpath: str) -> dict:
    """Read a checkpoint onto the CPU.

    Raises:
        InputError: the file is missing or damaged, or it contains objects that are not safe to unpickle.
    """
    if not os.path.exists(fpath):
        raise InputError(f"checkpoint '{fpath}' does not exist")
    try:
        with torch.serialization.safe_globals(list(SAFE_CLASSES)):
            return torch.load(fpath, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise InputError(f"checkpoint '{fpath}' cannot be read safely: {error}") from error


def resume_from_checkpoint(
    fdir: str,
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None = None,
    scheduler: torch.optim.lr_scheduler.LRScheduler | None = None,
) -> int:
    """Load the newest checkpoint in a folder into model, optimiser and scheduler; return the epoch to continue with."""
    with open(os.path.join(fdir, "checkpoint"), encoding="utf-8") as file:
        checkpoint = load_checkpoint(os.path.join(fdir, file.readline().strip()))
    model.load_state_dict(checkpoint["state_dict"])
    if optimizer is not None and checkpoint.get("optimizer") is not None:
        optimizer.load_state_dict(checkpoint["optimizer"])
    if scheduler is not None and checkpoint.get("scheduler") is not None:
        scheduler.load_state_dict(checkpoint["scheduler"])
    return checkpoint["epoch"]


def load_pretrained_weights(model: nn.Module, weight_path: str) -> None:
    """Load the weights whose names and shapes match the model's; print how many did."""
    checkpoint = load_checkpoint(weight_path)
    weights = checkpoint.get("state_dict", checkpoint)
    own = model.state_dict()
    weights = {key.removeprefix("module."): value for key, value in weights.items()}
    matching = {key: value for key, value in weights.items() if key in own and own[key].shape == value.shape}
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
