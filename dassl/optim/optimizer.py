"""Optimisers, built by name."""

from collections.abc import Iterable

import torch
from torch import nn
from yacs.config import CfgNode

from dassl.errors import unknown_name

NAMES = ("adam", "amsgrad", "sgd", "rmsprop", "radam", "adamw")


def build_optimizer(
    model: nn.Module | Iterable, optim_cfg: CfgNode, param_groups: list[dict] | None = None
) -> torch.optim.Optimizer:
    """Build an optimiser for the trainable parameters of a model.

    Args:
        model: a module, or an iterable of parameters or parameter groups.
        optim_cfg: the OPTIM node of the configuration.
        param_groups: parameter groups to use instead of `model`.

    Raises:
        InputError: the name of the optimiser is unknown.
    """
    if param_groups is None:
        parameters = model.parameters() if isinstance(model, nn.Module) else model
        param_groups = [p for p in parameters if isinstance(p, dict) or p.requires_grad]
    name, lr, decay = optim_cfg.NAME, optim_cfg.LR, optim_cfg.WEIGHT_DECAY
    betas = (optim_cfg.ADAM_BETA1, optim_cfg.ADAM_BETA2)
    if name == "sgd":
        return torch.optim.SGD(
            param_groups,
            lr=lr,
            momentum=optim_cfg.MOMENTUM,
            weight_decay=decay,
            dampening=optim_cfg.SGD_DAMPNING,
            nesterov=optim_cfg.SGD_NESTEROV,
        )
    if name in ("adam", "amsgrad"):
        return torch.optim.Adam(param_groups, lr=lr, weight_decay=decay, betas=betas, amsgrad=name == "amsgrad")
    if name == "adamw":
        return torch.optim.AdamW(param_groups, lr=lr, weight_decay=decay, betas=betas)
    if name == "radam":
        return torch.optim.RAdam(param_groups, lr=lr, weight_decay=decay, betas=betas)
    if name == "rmsprop":
        return torch.optim.RMSprop(
            param_groups, lr=lr, momentum=optim_cfg.MOMENTUM, weight_decay=decay, alpha=optim_cfg.RMSPROP_ALPHA
        )
    raise unknown_name("optimizer (OPTIM.NAME)", name, NAMES)
