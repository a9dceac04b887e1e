"""The base classes of trainers: the training loop, checkpoints and tests."""

import datetime
import os
import time
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from yacs.config import CfgNode

from dassl.config import check_settings
from dassl.data import DataManager
from dassl.data.data_manager import set_epoch
from dassl.evaluation import build_evaluator
from dassl.optim import build_lr_scheduler, build_optimizer
from dassl.utils import MetricMeter, load_checkpoint, resume_from_checkpoint, save_checkpoint


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


class SimpleTrainer(TrainerBase):
    """A trainer built from a configuration, with data, a model and an evaluator. It saves checkpoints and tests."""

    dm: Any
    train_loader_x: Any
    evaluator: Any

    def __init__(self, cfg: CfgNode):
        super().__init__()
        check_settings(cfg)
        self.check_cfg(cfg)
        self.device = torch.device("cuda" if torch.cuda.is_available() and cfg.USE_CUDA else "cpu")
        self.start_epoch = self.epoch = 0
        self.max_epoch = cfg.OPTIM.MAX_EPOCH
        self.output_dir = cfg.OUTPUT_DIR
        self.cfg = cfg
        self.build_data_loader()
        self.build_model()
        self.evaluator = build_evaluator(cfg, lab2cname=self.lab2cname)
        self.best_result = float("-inf")

    def check_cfg(self, cfg: CfgNode) -> None:
        """Raise an InputError for settings that the method does not support. The default accepts all settings."""

    def build_data_loader(self) -> None:
        dm = DataManager(self.cfg)
        self.train_loader_x, self.train_loader_u = dm.train_loader_x, dm.train_loader_u
        self.val_loader, self.test_loader = dm.val_loader, dm.test_loader
        self.num_classes, self.lab2cname = dm.num_classes, dm.lab2cname
        self.num_source_domains = dm.num_source_domains
        self.dm = dm

    def build_model(self) -> None:
        """Build and register the model. Methods override this; the default is a classifier of torchvision."""
        import torchvision

        self.model = torchvision.models.get_model(
            self.cfg.MODEL.BACKBONE.NAME, weights=None, num_classes=self.num_classes
        ).to(self.device)
        self.optim = build_optimizer(self.model, self.cfg.OPTIM)
        self.sched = build_lr_scheduler(self.optim, self.cfg.OPTIM)
        self.register_model("model", self.model, self.optim, self.sched)

    def train(self) -> None:
        super().train(self.start_epoch, self.max_epoch)

    def before_train(self) -> None:
        self.start_epoch = self.resume_model_if_exist(self.cfg.RESUME or self.output_dir)
        self.time_start = time.time()

    def after_train(self) -> None:
        print("Finish training")
        if not self.cfg.TEST.NO_TEST:
            if self.cfg.TEST.FINAL_MODEL == "best_val":
                print("Deploy the model with the best val performance")
                self.load_model(self.output_dir)
            else:
                print("Deploy the last-epoch model")
            self.test()
        print(f"Elapsed: {datetime.timedelta(seconds=round(time.time() - self.time_start))}")

    def before_epoch(self) -> None:
        set_epoch(self.train_loader_x, self.epoch)

    def after_epoch(self) -> None:
        frequency = self.cfg.TRAIN.CHECKPOINT_FREQ
        if not self.cfg.TEST.NO_TEST and self.cfg.TEST.FINAL_MODEL == "best_val":
            result = self.test(split="val")
            if result > self.best_result:
                self.best_result = result
                self.save_model(self.epoch, self.output_dir, val_result=result, model_name="model-best.pth.tar")
        if self.epoch + 1 == self.max_epoch or (frequency > 0 and (self.epoch + 1) % frequency == 0):
            self.save_model(self.epoch, self.output_dir)

    @torch.no_grad()
    def test(self, split: str | None = None) -> float:
        """Evaluate on a split ("val" or "test"); returns the first result, accuracy in percent."""
        self.set_model_mode("eval")
        self.evaluator.reset()
        split = split or self.cfg.TEST.SPLIT
        loader = self.val_loader if split == "val" and self.val_loader is not None else self.test_loader
        split = "val" if loader is self.val_loader else "test"
        print(f"Evaluate on the *{split}* set")
        for batch in loader:
            input, label = self.parse_batch_test(batch)
            self.evaluator.process(self.model_inference(input), label)
        results = self.evaluator.evaluate()
        for name, value in results.items():
            self.write_scalar(f"{split}/{name}", value, self.epoch)
        return next(iter(results.values()))

    def model_inference(self, input: Tensor) -> Tensor:
        return self.model(input)

    def parse_batch_train(self, batch: dict) -> tuple[Tensor, Tensor]:
        return batch["img"].to(self.device), batch["label"].to(self.device)

    parse_batch_test = parse_batch_train


class TrainerX(SimpleTrainer):
    """A trainer on labelled images. Methods implement `forward_backward`."""

    def run_epoch(self) -> None:
        self.set_model_mode("train")
        losses, started = MetricMeter(), time.time()
        batches = self.epoch_batches()
        self.num_batches, lr = len(batches), self.get_current_lr()
        for self.batch_idx, batch in enumerate(batches):
            summary = self.forward_backward(batch)
            losses.update(summary)
            for name, value in summary.items():
                self.write_scalar(f"train/{name}", value, self.epoch * self.num_batches + self.batch_idx)
            self.report(losses, time.time() - started, lr)

    def epoch_batches(self) -> Iterable[dict]:
        """Return the batches of the current epoch, as an iterable with a length."""
        return self.train_loader_x

    def report(self, losses: MetricMeter, elapsed: float, lr: float) -> None:
        """Print the progress every PRINT_FREQ batches; in a shorter epoch, after the last batch."""
        done = self.batch_idx + 1
        frequency = self.cfg.TRAIN.PRINT_FREQ
        if done % frequency and not (self.num_batches < frequency and done == self.num_batches):
            return
        left = self.num_batches - done + (self.max_epoch - self.epoch - 1) * self.num_batches
        eta = datetime.timedelta(seconds=round(elapsed / done * left))
        print(
            f"epoch [{self.epoch + 1}/{self.max_epoch}] batch [{done}/{self.num_batches}] "
            f"time {elapsed / done:.3f} eta {eta} {losses} lr {lr:.4e}"
        )
