"""Trainers built from a configuration: data, model, training, tests and resuming."""

import datetime
import math
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from yacs.config import CfgNode

from dassl.config import check_settings
from dassl.config.compare import declared_defaults, difference, flat_settings, read_config, refuse_difference
from dassl.data import DataManager
from dassl.data.data_manager import set_epoch
from dassl.engine.base import TrainerBase
from dassl.errors import InputError
from dassl.evaluation import build_evaluator
from dassl.optim import build_lr_scheduler, build_optimizer
from dassl.utils import MetricMeter


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
        dm = self.build_data_manager()
        self.train_loader_x, self.train_loader_u = dm.train_loader_x, dm.train_loader_u
        self.val_loader, self.test_loader = dm.val_loader, dm.test_loader
        self.num_classes, self.lab2cname = dm.num_classes, dm.lab2cname
        self.num_source_domains = dm.num_source_domains
        self.dm = dm

    def build_data_manager(self) -> DataManager:
        return DataManager(self.cfg)

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

    def stored_settings(self) -> dict[str, str]:
        return flat_settings(self.cfg)

    def in_todays_words(self, stored: dict) -> dict:
        """A stored configuration, in which settings mean what they mean today; here it stays as it is."""
        return stored

    def setting_defaults(self) -> dict[str, str]:
        """The defaults of settings, as `flat_settings` gives them."""
        return declared_defaults()

    def refuse_other_settings(self, stored: Any, directory: str) -> None:
        """Refuse to resume from a run with other settings, wherever that was started.

        Args:
            stored: what its checkpoint says. One without settings was written by an earlier version or by other code;
                the folder's config.yaml is then compared, if there is one.
            directory: its folder.

        Raises:
            InputError: with the settings that differ.
        """
        path = Path(directory) / "config.yaml"
        if not stored and path.is_file():
            stored = flat_settings(self.in_todays_words(read_config(path)))
        if not isinstance(stored, dict) or not stored:
            return
        asked, defaults = flat_settings(self.cfg), self.setting_defaults()
        # A configuration may hold the nodes of other trainers, or be cleared of them.
        not_compared = {key for key in asked.keys() ^ stored.keys() if key not in defaults}
        refuse_difference(difference(asked, stored, defaults, {*self.decides, *not_compared}), directory)

    def before_train(self) -> None:
        if self.cfg.RESUME and not os.path.isdir(self.cfg.RESUME):
            raise InputError(f"RESUME: the folder '{self.cfg.RESUME}' does not exist")
        self.start_epoch = self.resume_model_if_exist(self.cfg.RESUME or self.output_dir)
        if self.cfg.RESUME and self.start_epoch == 0:
            print(f"RESUME: nothing to resume from in '{self.cfg.RESUME}'; starting from the first epoch")
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
                if name == "loss" and not math.isfinite(value):
                    raise self.diverged(f"the loss is {float(value)}")
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
