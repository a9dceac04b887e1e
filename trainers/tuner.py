"""The Dassl trainer that trains, tests and saves any method."""

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from yacs.config import CfgNode

from clip import Backbone
from dassl.config.schema import parse
from dassl.data import DataManager
from dassl.data.datasets import DatasetBase, Datum
from dassl.evaluation import Predictions
from dassl.utils import MetricMeter, read_values, seeded, stream_seed
from datasets.image_check import check_dataset
from trainers import checkpoint
from trainers.bundle import UNCALIBRATED
from trainers.calibration import fit_temperature
from trainers.features import Encoder, FeatureStream
from trainers.fewshot import FewShotFeatures
from trainers.losses import total_loss
from trainers.method import Method, Setup
from trainers.precision import Precision
from trainers.saving import SavingTrainer
from trainers.shared_backbone import shared_backbone, with_input_of


class Tuner(SavingTrainer):
    """Trains and tests a method: data, steps, mixed precision.

    Args:
        cfg: the configuration.
        dataset: a data set that was built before; that of the configuration if it is not given.

    Attributes:
        method_class: the method that is trained; set by `register_method`.
        encoder: cached features of the frozen backbone, which the runs of a process share.
        image_notes: what is done to images that are not plain 8 bit, and to how many; see `datasets.image_check`.
        evaluation: all metrics of the last test, by the classes tested ("all", or "base" and "new").
        predictions: what that test predicted, by the classes tested.
        logged: a context manager around everything that the run prints.
        on_epoch_end: called after each epoch with "epoch" (from 1), "epochs", "loss" (its mean) and "lr"; the training
            ends where it returns True.
        training_started: time when the training began.
    """

    method_class: ClassVar[type[Method]]
    encoder: Encoder
    evaluation: dict[str, dict]
    predictions: dict[str, Predictions]
    logged = contextlib.nullcontext
    on_epoch_end: Callable[[dict[str, float]], object] = staticmethod(lambda metrics: None)
    training_started: float

    def __init__(self, cfg: CfgNode, dataset: DatasetBase | None = None):
        self._dataset = dataset
        super().__init__(cfg)

    @classmethod
    def why_unsupported(cls, backbone: type[Backbone], cfg: CfgNode) -> str:
        """Why the method cannot be used on a backbone with a run's configuration; "" if it can.

        Raises:
            InputError: a setting of the method has a value that is not allowed.
        """
        return cls.method_class.why_unsupported(backbone, cls.parse_settings(cfg), cfg.PROTOCOL)

    @classmethod
    def parse_settings(cls, cfg: CfgNode) -> Any:
        """The method's own settings in a configuration, checked: an instance of its `Config`."""
        node = cls.__name__.upper()
        return parse(cls.method_class.Config, cfg.TRAINER[node], f"TRAINER.{node}")

    def build_data_loader(self) -> None:
        """Build the backbone, which decides size and normalisation of the images, and then the data."""
        self.backbone = shared_backbone(self.cfg, self.device)
        self.cfg = with_input_of(self.backbone, self.cfg)
        self.encoder = Encoder(self.backbone, self.cfg)
        super().build_data_loader()
        self.image_notes = check_dataset(self.dm.dataset, self.cfg)

    def build_data_manager(self) -> DataManager:
        return DataManager(self.cfg, dataset=self._dataset)

    def build_model(self) -> None:
        dataset, images = self.dm.dataset, self.train_loader_x.dataset
        config = self.parse_settings(self.cfg)
        self.precision = Precision(config.PREC, self.device)
        setup = Setup(
            backbone=self.backbone,
            encoder=self.encoder,
            classnames=dataset.classnames,
            labels=torch.tensor([item.label for item in images.data_source], dtype=torch.long),
            prompts=dataset.prompts,
            template=self.cfg.DATASET.TEMPLATE,
            shots=self.cfg.DATASET.NUM_SHOTS,
            epochs=self.cfg.OPTIM.MAX_EPOCH,
            steps_per_epoch=len(self.train_loader_x) or 1,  # without training images there are only tests
        )
        with seeded(stream_seed("init", self.cfg.SEED)):
            self.method = self.method_class(setup, config).to(self.device)
        self.method.scaled = self.precision.scaled
        self.max_epoch = self.method.epochs
        if self.cfg.MODEL.INIT_WEIGHTS:
            checkpoint.load_into(self.method, Path(self.cfg.MODEL.INIT_WEIGHTS), self.identity())
        trained = any(p.requires_grad for p in self.method.parameters())
        self.optim, self.sched = self.method.build_optimization(self.cfg.OPTIM) if trained else (None, None)
        self.register_model("prompt_learner", self.method, self.optim, self.sched)
        prompt = self.method.visual_prompt()
        self.features = FewShotFeatures(self.encoder, prompt, images, dataset.val or ())
        ahead = self.cfg.FEATURES == "ahead" and self.method.image_tower_is_frozen
        self.stream = FeatureStream(self.encoder, prompt, images, self.max_epoch) if ahead else None

    @property
    def trainable_parameters(self) -> int:
        """How many values the checkpoint holds; 0 for a method that learns nothing."""
        return sum(value.numel() for value in self.method.state_dict().values())

    @property
    def stackable(self) -> bool:
        """Whether a step's prompts can be encoded together with those of other runs."""
        return self.stream is not None and self.method.stackable

    def set_model_mode(self, mode: str = "train", names: str | Sequence[str] | None = None) -> None:
        """Set the mode of the method; the backbone stays in evaluation mode, but for dropout if TEXT_DROPOUT is on."""
        super().set_model_mode(mode, names)
        self.backbone.set_text_dropout(mode == "train" and getattr(self.method.config, "TEXT_DROPOUT", False))

    def train(self) -> None:  # type: ignore[override] # as in Dassl, where trainers narrow TrainerBase.train
        for batch in self.batches():
            descend([self], [self.forward(batch)])

    def batches(self) -> Iterator[dict]:
        """The training as a sequence of batches; the caller takes a step on each before it asks for the next one.

        A method that learns nothing has no batches and is only tested.
        """
        self.training_started = time.time()
        self.evaluation, self.predictions = {}, {}
        if not self.trainable_parameters:
            self.evaluate()
            return
        self.features.require(validation=self.cfg.TEST.FINAL_MODEL == "best_val")
        self.before_train()
        if self.method.closed_form:
            for step, loss in enumerate(self.method.fit(self.features)):
                if not math.isfinite(loss):
                    raise self.diverged(f"the loss is {loss}", step + 1)
                self.write_scalar("train/loss", loss, step)
            self.refuse_weights_that_are_not_finite()
            self.save_model(self.max_epoch - 1, self.output_dir)
        else:
            yield from self._batches_of_all_epochs()
        self.after_train()

    def _batches_of_all_epochs(self) -> Iterator[dict]:
        if self.start_epoch == 0:
            self.method.before_training(self.features)
        for epoch in range(self.start_epoch, self.max_epoch):
            self.epoch = epoch
            self.before_epoch()
            self.method.before_epoch(epoch, self.optim)
            self.set_model_mode("train")
            self._losses: list[Tensor] = []
            self._meters, started, lr = MetricMeter(), time.time(), self.get_current_lr()
            batches = self.epoch_batches()
            self.num_batches = len(batches)
            for self.batch_idx, batch in enumerate(batches):
                yield batch
                self.report(self._meters, time.time() - started, lr)
            self._read_losses()
            self.method.after_epoch(epoch)
            self.after_epoch()
            if self.on_epoch_end(self._metrics_of_epoch(lr)) is True:
                if self.cfg.TEST.FINAL_MODEL == "last_step":
                    self.save_model(epoch, self.output_dir)
                break
        if self.method.after_training(self.features):
            self.save_model(self.max_epoch - 1, self.output_dir)

    def _metrics_of_epoch(self, lr: float) -> dict[str, float]:
        losses = [loss for _, loss in self.history["train/loss"][-self.num_batches :]]
        return {"epoch": self.epoch + 1, "epochs": self.max_epoch, "loss": sum(losses) / len(losses), "lr": lr}

    def epoch_batches(self) -> Sequence[dict]:
        """Batches of cached image features if the image tower is frozen, else of pixels; of the same images."""
        loader = self.train_loader_x
        if self.stream is None:
            loader.dataset.decode_all()
            return loader
        return self.stream.batches(self.epoch, max(self.cfg.SEED, 0), loader.batch_size, loader.drop_last)

    def forward(self, batch: dict) -> Tensor:
        """The loss of a batch; nothing in it waits for the device."""
        batch = {key: value.to(self.device) if torch.is_tensor(value) else value for key, value in batch.items()}
        # Random numbers of a step (dropout) depend on seed, epoch and step only.
        torch.manual_seed(stream_seed("step", self.cfg.SEED, self.epoch, self.batch_idx))
        with self.precision.autocast(), self.method.adapted():
            logits, parts = self.method.training_step(batch)
            total = total_loss(parts.values())
        accuracy = (logits.argmax(1) == batch["label"]).float().mean() * 100
        self._losses.append(total.detach())
        self._meters.update({"loss": total, **parts, "acc": accuracy})
        return total

    def update(self) -> None:
        """Update the parameters by their gradients, and then the learning rate."""
        self.precision.step(self.optim)
        if self.method.schedule_per_step or self.batch_idx + 1 == self.num_batches:
            self.update_lr()

    def _read_losses(self) -> None:
        """Read the losses of the epoch from the device; one that is not finite ends the run before it is saved."""
        for index, loss in enumerate(read_values(self._losses)):
            if not math.isfinite(loss):
                raise self.diverged(f"the loss is {loss}", index + 1)
            self.write_scalar("train/loss", loss, self.epoch * self.num_batches + index)

    def evaluate(self) -> dict[str, dict]:
        """Test as the protocol asks; returns and stores all metrics by the classes tested."""
        which, split = self.cfg.DATASET.SUBSAMPLE_CLASSES, self.cfg.TEST.SPLIT
        both = self.cfg.PROTOCOL == "base2new" and which == "base" and split != "val"
        self.evaluation, self.predictions = {}, {}
        for part in ("base", "new") if both else (which,):
            self.test(split, part)
            self.evaluation[part], self.predictions[part] = self.evaluator.metrics, self._tested
        return self.evaluation

    @torch.no_grad()
    def test(self, split: str | None = None, which: str | None = None) -> float:
        """Test on "val", "test" or "all" images; `which` chooses "all", "base" or "new" classes of the test split."""
        self.set_model_mode("eval")
        split = split or self.cfg.TEST.SPLIT
        which = which or self.cfg.DATASET.SUBSAMPLE_CLASSES
        dataset, method = self.dm.dataset, self.method
        if split == "val":
            items, names = self.features.validation_images(), dataset.classnames
        elif which == self.cfg.DATASET.SUBSAMPLE_CLASSES:
            items, names = dataset.test, dataset.classnames
        else:
            items, names = dataset.test_of(which)
        method.set_classes(names)
        logits, labels = self._logits(items, f"{split} images")
        method.set_classes(dataset.classnames)
        print(f"Evaluate on the *{split}* set" + ("" if which == "all" else f", {which} classes"))
        self.evaluator.lab2cname = dict(enumerate(names))
        self.evaluator.reset()
        self.evaluator.process(logits, labels)
        self._tested = Predictions([item.impath for item in items], names, logits.cpu(), labels.cpu())
        return next(iter(self.evaluator.evaluate().values()))

    def _logits(self, items: Sequence[Datum], describe: str) -> tuple[Tensor, Tensor]:
        """Logits (N, C) of images for the current classes, and labels (N,)."""
        method = self.method
        with method.adapted():
            prompt, frozen = method.visual_prompt(), method.image_tower_is_frozen
            features, labels = self.encoder.images(items, prompt, describe, keep=frozen)
        with self.precision.autocast(), method.adapted():
            return method.logits(features), labels

    @torch.no_grad()
    def logits_of(self, items: Sequence[Datum], describe: str) -> tuple[Tensor, Tensor]:
        """Logits (N, C) of images of the training classes, as in a test, and labels (N,)."""
        self.set_model_mode("eval")
        return self._logits(items, describe)

    def calibration(self) -> dict[str, Any]:
        """A temperature that is fitted on the validation shots, as `Bundle.calibration` has it."""
        if not self.dm.dataset.val:
            return {"temperature": 1.0, "fitted_on": UNCALIBRATED, "images": 0}
        temperature = fit_temperature(*self.logits_of(self.dm.dataset.val, "validation images"))
        return {"temperature": temperature, "fitted_on": "validation shots", "images": len(self.dm.dataset.val)}

    def after_train(self) -> None:
        if self.cfg.TEST.FINAL_MODEL == "best_val":
            self.load_model(self.output_dir)
        if not self.cfg.TEST.NO_TEST:
            self.evaluate()


def descend(runs: Sequence[Tuner], losses: Sequence[Tensor]) -> None:
    """One optimiser step of each run on its own loss, with one backward pass for all of them."""
    for run in runs:
        run.optim.zero_grad()
    with runs[0].precision.products():
        total_loss(run.precision.scaled(loss) for run, loss in zip(runs, losses, strict=True)).backward()
    for run in runs:
        run.update()
