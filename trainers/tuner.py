"""How every method is run, tested and saved."""

import json
import math
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import torch
from torch import Tensor

from clip import Backbone, build_backbone
from dassl.data.samplers import epoch_order
from dassl.errors import unknown_name
from dassl.utils import MetricMeter, read_values, seeded, stream_seed
from datasets.check import check_images
from trainers import checkpoint, lockstep
from trainers.features import Encoder, FeatureStream
from trainers.method import Method
from trainers.precision import Precision

_LIVE: WeakValueDictionary[tuple, Backbone] = WeakValueDictionary()
_LAST: list[Backbone] = []  # at most one: the next run of this process is likely to stand on it again


class PromptTuner(Method):
    """Runs a method: data, steps, mixed precision, tests, checkpoints of what was learned."""

    def build_data_loader(self) -> None:
        """The backbone comes first: it decides the size and normalisation of the images."""
        self.backbone = _shared_backbone(self.cfg, self.device)
        self.cfg = self.cfg.clone()
        self.cfg.defrost()
        self.cfg.INPUT.SIZE = (self.backbone.image_size, self.backbone.image_size)
        self.cfg.INPUT.PIXEL_MEAN, self.cfg.INPUT.PIXEL_STD = (
            list(self.backbone.pixel_mean),
            list(self.backbone.pixel_std),
        )
        self.cfg.freeze()
        self.encoder = Encoder(self.backbone, self.cfg)
        super().build_data_loader()
        parts = (self.dm.dataset.train_x, self.dm.dataset.val, self.dm.dataset.test)
        check_images(item.impath for part in parts for item in part or ())

    def build_model(self) -> None:
        self.precision = Precision(self.settings.get("PREC", "fp32"), self.device)
        self.classnames = self.dm.dataset.classnames
        with seeded(stream_seed("init", self.cfg.SEED)):
            self.learner = self.build_prompts().to(self.device)
        self.set_classes(self.classnames)
        if self.cfg.MODEL.INIT_WEIGHTS:
            checkpoint.load_into(self.learner, Path(self.cfg.MODEL.INIT_WEIGHTS), self.identity())
        self.optim = self.sched = None
        if any(p.requires_grad for p in self.learner.parameters()):
            self.optim, self.sched = self.build_optimization()
        self.register_model("prompt_learner", self.learner, self.optim, self.sched)
        self.stream = None
        if self.cfg.FEATURES == "ahead" and self.image_tower_is_frozen:
            images = self.train_loader_x.dataset
            self.stream = FeatureStream(self.encoder, self.visual_prompt, images, self.max_epoch)

    @property
    def learned_parameters(self) -> int:
        """How many numbers are learned and kept; 0 for a method that only tests."""
        return sum(value.numel() for value in self.learner.state_dict().values())

    @property
    def trainable_parameters(self) -> int:
        return self.learned_parameters

    @property
    def method(self) -> Method:
        return self

    def set_model_mode(self, mode: str = "train", names=None) -> None:
        """The backbone stays in evaluation mode, but for the text tower's dropout where TEXT_DROPOUT asks for it."""
        super().set_model_mode(mode, names)
        self.backbone.set_text_dropout(mode == "train" and self.settings.get("TEXT_DROPOUT", False))

    def epoch_batches(self) -> Iterable[dict]:
        """Batches with image features where they are encoded ahead, else with pixels; the same images either way."""
        if self.stream is None:
            self.train_loader_x.dataset.decode_all()
            return self.train_loader_x
        features = self.stream.epoch(self.epoch)
        order = torch.tensor(epoch_order(len(features), max(self.cfg.SEED, 0), self.epoch), device=self.device)
        size = self.train_loader_x.batch_size
        whole = len(order) // size * size if self.train_loader_x.drop_last else len(order)
        return [
            {"features": features[chosen], "label": self.stream.labels[chosen], "index": chosen}
            for chosen in order[:whole].split(size)
        ]

    def train(self) -> None:
        lockstep.train_together([self])

    def walk(self) -> Iterator[dict]:
        """The training as a sequence of batches; who takes one steps on it before taking the next.

        A method that learns nothing has none, and is tested.
        """
        self.training_started = time.time()
        if not self.learned_parameters:
            self.evaluate()
            return
        self.before_train()
        for epoch in range(self.start_epoch, self.max_epoch):
            self.epoch = epoch
            self.before_epoch()
            self.set_model_mode("train")
            self._losses: list[Tensor] = []
            self._meters, started, lr = MetricMeter(), time.time(), self.get_current_lr()
            batches = self.epoch_batches()
            self.num_batches = len(batches)
            for self.batch_idx, batch in enumerate(batches):
                yield batch
                self.report(self._meters, time.time() - started, lr)
            self._read_losses()
            self.after_epoch()
        self.after_train()

    def forward(self, batch: dict) -> Tensor:
        """The loss of a batch; nothing in a step waits for the device."""
        batch = {key: value.to(self.device) if torch.is_tensor(value) else value for key, value in batch.items()}
        # Whatever a method draws while training (dropout) is a function of seed, epoch and step alone.
        torch.manual_seed(stream_seed("step", self.cfg.SEED, self.epoch, self.batch_idx))
        with self.precision.autocast(), self.adapted():
            logits, parts = self.loss(batch)
            total = sum(parts.values())
        accuracy = (logits.argmax(1) == batch["label"]).float().mean() * 100
        self._losses.append(total.detach())
        self._meters.update({"loss": total, **parts, "acc": accuracy})
        return total

    def update(self) -> None:
        """Step on the gradients; the learning rate follows."""
        self.precision.step(self.optim)
        if self.schedule_per_step or self.batch_idx + 1 == self.num_batches:
            self.update_lr()

    def _read_losses(self) -> None:
        """Fetch the epoch's losses from the device; one that is not finite ends the run before anything is kept."""
        for index, loss in enumerate(read_values(self._losses)):
            if not math.isfinite(loss):
                raise FloatingPointError(
                    f"the loss is {loss} in epoch {self.epoch + 1}, step {index + 1}; lower OPTIM.LR?"
                )
            self.write_scalar("train/loss", loss, self.epoch * self.num_batches + index)

    def evaluate(self) -> dict[str, dict]:
        """Test as the protocol asks; all metrics by the classes they are of, kept in `evaluation`."""
        which = self.cfg.DATASET.SUBSAMPLE_CLASSES
        parts = ("base", "new") if self.cfg.PROTOCOL == "base2new" and which == "base" else (which,)
        self.evaluation = {}
        for part in parts:
            self.test("test", part)
            self.evaluation[part] = self.evaluator.metrics
        return self.evaluation

    @torch.no_grad()
    def test(self, split: str | None = None, which: str | None = None) -> float:
        """Evaluate on the validation or test split; `which` chooses all, base or new classes of the test split."""
        self.set_model_mode("eval")
        split = split or self.cfg.TEST.SPLIT
        which = which or self.cfg.DATASET.SUBSAMPLE_CLASSES
        dataset = self.dm.dataset
        if split == "val" and dataset.val:
            items, names = dataset.val, self.classnames
        elif which == self.cfg.DATASET.SUBSAMPLE_CLASSES:
            items, names = dataset.test, dataset.classnames
        else:
            items, names = dataset.test_of(which)
        prompt = self.visual_prompt and self.visual_prompt.detached()
        with self.adapted():
            features, labels = self.encoder.images(items, prompt, f"{split} images", keep=self.image_tower_is_frozen)
        trained_on, self.classnames = self.classnames, names
        self.set_classes(names)
        print(f"Evaluate on the *{split}* set" + ("" if which == "all" else f", {which} classes"))
        self.evaluator.lab2cname = dict(enumerate(names))
        self.evaluator.reset()
        with self.precision.autocast(), self.adapted():
            self.evaluator.process(self.logits(features), labels)
        results = self.evaluator.evaluate()
        self.classnames = trained_on
        self.set_classes(trained_on)
        return next(iter(results.values()))

    def identity(self) -> dict[str, Any]:
        """What a checkpoint must agree on to be loaded."""
        return {"method": type(self).__name__, "backbone": self.backbone.name}

    def save_model(self, epoch: int, directory: str, is_best=False, val_result=None, model_name: str = "") -> None:
        """Write what was learned, and nothing else, to <directory>/model.pth (or `model_name`)."""
        path = Path(directory) / (model_name or checkpoint.FILE)
        about = {**self.identity(), "classnames": self.classnames, "settings": json.dumps(self.settings)}
        checkpoint.save(path, self.learner.state_dict(), epoch + 1, about)

    def load_model(self, directory: str, epoch: int | None = None) -> None:
        """Load <directory>/model.pth or, CoOp-style, <directory>/prompt_learner/model.pth.tar-<epoch>."""
        path = checkpoint.find(Path(directory), epoch)
        about = checkpoint.load_into(self.learner, path, self.identity(), epoch)
        checkpoint.compare(about, self.classnames, dict(self.settings), self.classes_matter)

    def after_epoch(self) -> None:
        """Keep the model (the best on validation, or the last), and the state to go on from after an interrupt."""
        if self.cfg.TEST.FINAL_MODEL == "best_val":
            result = self.test(split="val")
            keep = result > self.best_result
            self.best_result = max(result, self.best_result)
        else:
            keep = self.epoch + 1 == self.max_epoch
        if keep:
            self.save_model(self.epoch, self.output_dir)
        state = {"epoch": self.epoch + 1, "best_result": self.best_result, "history": self.history["train/loss"]}
        checkpoint.save_state(Path(self.output_dir), self.identity(), self.resumable(), state)

    def after_train(self) -> None:
        if self.cfg.TEST.FINAL_MODEL == "best_val":
            self.load_model(self.output_dir)
        if not self.cfg.TEST.NO_TEST:
            self.evaluate()

    def resume_model_if_exist(self, directory: str) -> int:
        state = checkpoint.load_state(Path(directory), self.identity(), self.resumable())
        if state is None:
            return 0
        self.best_result = state["best_result"]
        self.history["train/loss"] = [tuple(entry) for entry in state["history"]]
        print(f"Resumed from '{directory}' after epoch {state['epoch']}")
        return state["epoch"]

    def resumable(self) -> dict[str, Any]:
        """What an interrupted run needs to go on: things with a state_dict."""
        return {"learner": self.learner, "optim": self.optim, "sched": self.sched, "precision": self.precision}


Tuner = PromptTuner


def _shared_backbone(cfg, device: torch.device) -> Backbone:
    """The backbone that this process has already, of a living run or its last one, else a new one; never two copies."""
    key = (cfg.MODEL.BACKBONE.NAME, cfg.MODEL.BACKBONE.PATH, cfg.TEXT_PADDING, str(device))
    backbone = _LIVE.get(key)
    if backbone is None:
        if cfg.TEXT_PADDING not in ("longest", "context"):
            raise unknown_name("text padding (TEXT_PADDING)", cfg.TEXT_PADDING, ("longest", "context"))
        _LAST.clear()  # its memory is free before the next one is loaded
        backbone = _LIVE[key] = build_backbone(*key[:2]).to(device)
        backbone.pad_text = cfg.TEXT_PADDING == "context"
    _LAST[:] = [backbone]
    backbone.set_text_dropout(False)  # a run that ended in the middle of training may have left it on
    return backbone
