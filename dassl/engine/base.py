"""The base class of trainers: named models with their optimisers, their checkpoints and the loop over epochs."""

import os
from collections import OrderedDict, defaultdict
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from yacs.config import CfgNode

from dassl.errors import DivergedError, InputError
from dassl.utils import load_checkpoint, save_checkpoint
from dassl.utils.torchtools import load_weights, newest_checkpoint, restore, resumable_parts


class TrainerBase:
    """Holds named models with their optimisers and schedules; saves, resumes and updates them.

    Attributes:
        decides: keys of the configuration whose values the trainer decides, whatever was asked for.
    """

    decides: ClassVar[tuple[str, ...]] = ()

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
                "settings": self.stored_settings(),
            }
            save_checkpoint(state, os.path.join(directory, name), is_best=is_best, model_name=model_name)

    def resume_model_if_exist(self, directory: str) -> int:
        """Load the newest checkpoints in a folder; return the epoch to start with, 0 if there are no checkpoints."""
        names = self.get_model_names()
        if not all(os.path.exists(os.path.join(directory, name, "checkpoint")) for name in names):
            return 0
        try:
            stored = {name: load_checkpoint(newest_checkpoint(os.path.join(directory, name))) for name in names}
        except InputError as error:
            print(f"{error}; starting from the first epoch")
            return 0
        self.refuse_other_settings(stored[names[0]].get("settings"), directory)
        parts, states = {}, {}
        for name, checkpoint in stored.items():
            of_model = resumable_parts(checkpoint, self._models[name], self._optims[name], self._scheds[name])
            parts |= {f"{name}: {key}": part for key, part in of_model.items()}
            states |= {f"{name}: {key}": checkpoint.get(key) for key in of_model}
        epochs = {checkpoint.get("epoch") for checkpoint in stored.values()}
        start = epochs.pop() if len(epochs) == 1 else None
        problem = restore(parts, states) if type(start) is int and start > 0 else "they name no common epoch"
        if problem:
            print(f"the checkpoints in '{directory}' do not fit ({problem}); starting from the first epoch")
            return 0
        print(f"Resumed from '{directory}' at epoch {start + 1}")
        return start

    def stored_settings(self) -> dict[str, str]:
        """The settings that a checkpoint keeps, for the comparison with those of a run that resumes from it."""
        return {}

    def refuse_other_settings(self, stored: Any, directory: str) -> None:
        """Refuse to resume from a run with other settings; a trainer without a configuration has none to compare."""

    def load_model(self, directory: str, epoch: int | None = None) -> None:
        """Load weights saved by `save_model`: those after `epoch` epochs, or by default the best on validation."""
        if not directory:
            return
        file = f"model.pth.tar-{epoch}" if epoch is not None else "model-best.pth.tar"
        for name in self.get_model_names():
            path = os.path.join(directory, name, file)
            checkpoint = load_checkpoint(path)
            load_weights(self._models[name], checkpoint.get("state_dict"), path)
            print(f"Load {path} (epoch {checkpoint.get('epoch')})")

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
            raise self.diverged(f"the loss is {loss.tolist()}")

    def diverged(self, what: str, step: int | None = None) -> DivergedError:
        """The error of a training that left the finite numbers: where, and what to change."""
        where = f"epoch {self.epoch + 1}" + ("" if step is None else f", step {step}")
        return DivergedError(
            f"{what} in {where} of the run in '{getattr(self, 'output_dir', '')}': {self.what_to_change()}, and start "
            "again in another folder or with --overwrite; what was saved before stays"
        )

    def what_to_change(self) -> str:
        """The setting that makes a training diverge."""
        optim = getattr(self, "cfg", {}).get("OPTIM", {})
        return "lower OPTIM.LR" + (f" (it is {optim['LR']})" if "LR" in optim else "")

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
