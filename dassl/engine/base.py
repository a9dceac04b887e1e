"""The base class of trainers: named models with their optimisers, their checkpoints and the loop over epochs."""

import os
from collections import OrderedDict, defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from yacs.config import CfgNode

from dassl.utils import load_checkpoint, resume_from_checkpoint, save_checkpoint


class TrainerBase:
    """Holds named models with their optimisers and schedules; saves, resumes and updates them."""

    @classmethod
    def why_unsupported(cls, backbone: type, cfg: CfgNode) -> str:
        """Return why the trainer cannot run with a backbone or configuration; "" if it can."""
        return ""

    def __init__(self):
        self._models: OrderedDict[str, nn.Module] = OrderedDict()
        self._optims: OrderedDict[str, torch.optim.Optimizer | None] = OrderedDict()
        self._scheds: OrderedDict = OrderedDict()
        self.history: dict[str, list[tuple[int | None, float]]] = defaultdict(list)

    def register_model(self, name: str = "model", model: nn.Module | None = None, optim=None, sched=None) -> None:
        """Register a model. A model without an optimiser is saved and loaded, but not updated."""
        if name in self._models:
            raise KeyError(f"a model named '{name}' is registered already")
        self._models[name], self._optims[name], self._scheds[name] = model, optim, sched

    def get_model_names(self, names: str | Sequence[str] | None = None) -> list[str]:
        """Return the given names, after a check, or all names."""
        if names is None:
            return list(self._models)
        names = [names] if isinstance(names, str) else list(names)
        for name in names:
            if name not in self._models:
                raise KeyError(f"no model named '{name}'; registered: {list(self._models)}")
        return names

    def save_model(
        self, epoch: int, directory: str, is_best: bool = False, val_result=None, model_name: str = ""
    ) -> None:
        """Save every model to <directory>/<name>/. `epoch` counts from 0, the epoch in the file name from 1."""
        for name in self.get_model_names():
            optim, sched = self._optims[name], self._scheds[name]
            state = {
                "state_dict": self._models[name].state_dict(),
                "epoch": epoch + 1,
                "optimizer": optim.state_dict() if optim else None,
                "scheduler": sched.state_dict() if sched else None,
                "val_result": val_result,
            }
            save_checkpoint(state, os.path.join(directory, name), is_best=is_best, model_name=model_name)

    def resume_model_if_exist(self, directory: str) -> int:
        """Load the newest checkpoints in a folder; return the epoch to start with, 0 if there are no checkpoints."""
        names = self.get_model_names()
        if not all(os.path.exists(os.path.join(directory, name, "checkpoint")) for name in names):
            return 0
        for name in names:
            start = resume_from_checkpoint(
                os.path.join(directory, name), self._models[name], self._optims[name], self._scheds[name]
            )
        print(f"Resumed from '{directory}' at epoch {start + 1}")
        return start

    def load_model(self, directory: str, epoch: int | None = None) -> None:
        """Load weights saved by `save_model`: those after `epoch` epochs, or by default the best on validation."""
        if not directory:
            return
        file = f"model.pth.tar-{epoch}" if epoch is not None else "model-best.pth.tar"
        for name in self.get_model_names():
            path = os.path.join(directory, name, file)
            checkpoint = load_checkpoint(path)
            print(f"Load {path} (epoch {checkpoint['epoch']})")
            self._models[name].load_state_dict(checkpoint["state_dict"])

    def set_model_mode(self, mode: str = "train", names=None) -> None:
        """Set training mode ("train") or evaluation mode ("eval" or "test")."""
        for name in self.get_model_names(names):
            self._models[name].train(mode == "train")

    def update_lr(self, names=None) -> None:
        for name in self.get_model_names(names):
            if self._scheds[name] is not None:
                self._scheds[name].step()

    def get_current_lr(self, names=None) -> float:
        return self._optims[self.get_model_names(names)[0]].param_groups[0]["lr"]

    def detect_anomaly(self, loss: Tensor) -> None:
        if not torch.isfinite(loss).all():
            raise FloatingPointError(f"the loss is {loss.item()} in epoch {self.epoch + 1}; try a lower OPTIM.LR")

    def model_zero_grad(self, names=None) -> None:
        for name in self.get_model_names(names):
            if self._optims[name] is not None:
                self._optims[name].zero_grad()

    def model_backward(self, loss: Tensor) -> None:
        self.detect_anomaly(loss)
        loss.backward()

    def model_update(self, names=None) -> None:
        for name in self.get_model_names(names):
            if self._optims[name] is not None:
                self._optims[name].step()

    def model_backward_and_update(self, loss: Tensor, names=None) -> None:
        self.model_zero_grad(names)
        self.model_backward(loss)
        self.model_update(names)

    def write_scalar(self, tag: str, scalar_value: float, global_step: int | None = None) -> None:
        """Append a value to `history`."""
        self.history[tag].append((global_step, float(scalar_value)))

    def train(self, start_epoch: int, max_epoch: int) -> None:
        """Run the epochs from `start_epoch` up to, not including, `max_epoch`."""
        self.start_epoch, self.max_epoch = start_epoch, max_epoch
        self.before_train()
        for epoch in range(self.start_epoch, self.max_epoch):
            self.epoch = epoch
            self.before_epoch()
            self.run_epoch()
            self.after_epoch()
        self.after_train()

    def before_train(self) -> None: ...

    def after_train(self) -> None: ...

    def before_epoch(self) -> None: ...

    def after_epoch(self) -> None: ...

    def run_epoch(self) -> None:
        raise NotImplementedError

    def test(self, split: str | None = None) -> float:
        raise NotImplementedError

    def parse_batch_train(self, batch):
        raise NotImplementedError

    def parse_batch_test(self, batch):
        raise NotImplementedError

    def forward_backward(self, batch) -> dict:
        raise NotImplementedError

    def model_inference(self, input):
        raise NotImplementedError
