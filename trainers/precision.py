"""Arithmetic of the training step: fp32, bf16 autocast, or fp16 autocast with a scaled loss."""

import contextlib

import torch
from torch import Tensor

from dassl.errors import unknown_name


class Precision:
    """Autocast context and optimiser step of a setting PREC.

    Args:
        name: "fp32"; "bf16"; "amp": fp16 with gradient scaling on CUDA, bf16 on the CPU, which has no fast fp16.
        device: where training runs.

    Raises:
        InputError: unknown setting.
    """

    def __init__(self, name: str, device: torch.device):
        if name not in ("fp32", "bf16", "amp"):
            raise unknown_name("precision (PREC)", name, ("fp32", "bf16", "amp"))
        self.device = device.type
        half = torch.float16 if name == "amp" and self.device == "cuda" else torch.bfloat16
        self.dtype = None if name == "fp32" else half
        self.scaler = torch.amp.GradScaler(self.device) if self.dtype is torch.float16 else None

    def autocast(self) -> contextlib.AbstractContextManager:
        return torch.autocast(self.device, self.dtype) if self.dtype else contextlib.nullcontext()

    def step(self, loss: Tensor, optimizer: torch.optim.Optimizer) -> None:
        """One optimiser step on a loss."""
        optimizer.zero_grad()
        if self.scaler is None:
            loss.backward()
            optimizer.step()
            return
        self.scaler.scale(loss).backward()
        self.scaler.step(optimizer)
        self.scaler.update()
