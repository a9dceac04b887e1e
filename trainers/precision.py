"""The precision of training and encoding: fp32, TF32, bf16 autocast, or fp16 autocast with loss scaling."""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from dassl.errors import unknown_name

NAMES = ("fp32", "tf32", "bf16", "amp")


class Precision:
    """The precision that a setting PREC names.

    Args:
        name: "fp32"; "tf32": fp32, but on CUDA the inputs of matrix products are rounded to ten bits; "bf16": bf16
            autocast; "amp": fp16 autocast with gradient scaling on CUDA, bf16 autocast on the CPU, where fp16 is slow.
        device: the device of the computation.
        setting: the configuration key, for the error message.

    Raises:
        InputError: the name is unknown.
    """

    def __init__(self, name: str, device: torch.device, setting: str = "PREC"):
        if name not in NAMES:
            raise unknown_name(f"precision ({setting})", name, NAMES)
        self.name, self.device = name, device.type
        half = torch.float16 if name == "amp" and self.device == "cuda" else torch.bfloat16
        self.dtype = half if name in ("bf16", "amp") else None
        self.scaler = torch.amp.GradScaler(self.device) if self.dtype is torch.float16 else None
        if self.dtype is torch.bfloat16 and self.device == "cpu" and not _cpu_has_bf16():
            print(f"{setting} {name}: this processor has no bf16 arithmetic; fp32 is many times faster here")

    @contextlib.contextmanager
    def autocast(self) -> Iterator[None]:
        """Compute a forward pass in this precision while the context is open."""
        with self.products(), torch.autocast(self.device, self.dtype, enabled=self.dtype is not None):
            yield

    @contextlib.contextmanager
    def products(self) -> Iterator[None]:
        """Allow TF32 in matrix products of fp32 while the context is open, if this precision is "tf32".

        Use it for the backward pass, which `autocast` does not cover.
        """
        before = torch.backends.cuda.matmul.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = before or self.name == "tf32"
        try:
            yield
        finally:
            torch.backends.cuda.matmul.allow_tf32 = before

    def scaled(self, loss: Tensor) -> Tensor:
        """Scale the loss for the backward pass, if the precision needs it."""
        return loss if self.scaler is None else self.scaler.scale(loss)

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """Take an optimiser step with the gradients of a scaled loss."""
        if self.scaler is None:
            optimizer.step()
            return
        self.scaler.step(optimizer)
        self.scaler.update()

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the gradient scaler, with which an interrupted run resumes."""
        return {} if self.scaler is None else self.scaler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if self.scaler is not None and state:
            self.scaler.load_state_dict(state)


def _cpu_has_bf16() -> bool:
    has: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return not has or any(has.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))
