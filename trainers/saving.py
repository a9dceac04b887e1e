"""What a trainer of this project keeps on disk: the model, and the state that an interrupted run resumes from."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch

from clip import Backbone
from dassl.config.compare import flat_settings
from dassl.engine import TrainerX
from dassl.utils.tensors import is_finite
from trainers import checkpoint
from trainers.bundle import Bundle
from trainers.method import Method
from trainers.packing import pack
from trainers.precision import Precision
from trainers.settings import in_todays_words


class SavingTrainer(TrainerX):
    """Saves, loads and resumes a method.

    Attributes:
        method, backbone, precision: what is trained, on which backbone and in which precision; set by the subclass.
        defaults: the method's settings and their defaults, for the node TRAINER.<NAME> of the configuration.
    """

    decides = ("INPUT.SIZE", "INPUT.PIXEL_MEAN", "INPUT.PIXEL_STD")  # the backbone's

    method: Method
    backbone: Backbone
    precision: Precision
    defaults: ClassVar[dict[str, Any]]

    def identity(self) -> dict[str, Any]:
        """What a checkpoint must agree with to be loaded."""
        return {"method": type(self).__name__, "backbone": self.backbone.name}

    def save_model(
        self, epoch: int, directory: str, is_best: bool = False, val_result: Any = None, model_name: str = ""
    ) -> None:
        """Write the method's `state_dict`, with the classes and settings it belongs to, to <directory>/model.pth."""
        settings = checkpoint.settings_of(self.method.config)
        about = {**self.identity(), "classnames": self.method.classnames, **settings}
        path = Path(directory) / (model_name or checkpoint.FILE)
        checkpoint.save(path, self.method.state_dict(), epoch + 1, about)

    @torch.no_grad()
    def bundle(self, calibration: Mapping[str, Any], provenance: Mapping[str, Any], **more: Any) -> Bundle:
        """The tuned model with everything that prediction needs, for `trainers.bundle.write_bundle`.

        Args:
            calibration: as in `Bundle.calibration`.
            provenance: where the model comes from: seed, shots, digests of the training images, versions.
            more: further entries of bundle.json, such as metrics.
        """
        self.set_model_mode("eval")
        return pack(self.method, self.cfg, self.precision, calibration, provenance, **more)

    def load_model(self, directory: str, epoch: int | None = None) -> None:
        """Load <directory>/model.pth or, of an epoch, <directory>/prompt_learner/model.pth.tar-<epoch>."""
        path = checkpoint.find(Path(directory), epoch)
        about = checkpoint.load_into(self.method, path, self.identity(), epoch)
        method = self.method
        checkpoint.compare(about, method.classnames, method.config, method.classes_matter)

    def after_epoch(self) -> None:
        """Save the model (the best on validation, or the last), and the state that an interrupted run resumes from."""
        done, frequency = self.epoch + 1, self.cfg.TRAIN.CHECKPOINT_FREQ
        self.refuse_weights_that_are_not_finite()
        best = done == self.max_epoch
        if self.cfg.TEST.FINAL_MODEL == "best_val":
            result = self.test(split="val")
            best = result > self.best_result
            self.best_result = max(result, self.best_result)
        if best:
            self.save_model(self.epoch, self.output_dir)
        if frequency > 0 and done % frequency == 0:
            self.save_model(self.epoch, self.output_dir, model_name=checkpoint.name_of_epoch(done))
        state = {"epoch": done, "best_result": self.best_result, "history": self.history["train/loss"]}
        settings = flat_settings(self.cfg)
        checkpoint.save_state(Path(self.output_dir), self.identity(), settings, self.resumable(), state)

    def refuse_weights_that_are_not_finite(self) -> None:
        """A DivergedError after an update that left the numbers; what was saved before stays."""
        if not all(map(is_finite, self.method.state_dict().values())):
            raise self.diverged("the weights are not finite")

    def what_to_change(self) -> str:
        closed_form = f"change the settings TRAINER.{type(self).__name__.upper()}"
        return closed_form if self.method.closed_form else super().what_to_change()

    def resume_model_if_exist(self, directory: str) -> int:
        def refuse_other(settings: Any) -> None:
            self.refuse_other_settings(settings, directory)

        state = checkpoint.load_state(Path(directory), self.identity(), self.resumable(), self.max_epoch, refuse_other)
        if state is None:
            return 0
        self.best_result = state["best_result"]
        self.history["train/loss"] = [tuple(entry) for entry in state["history"]]
        print(f"Resumed from '{directory}' after epoch {state['epoch']}")
        return state["epoch"]

    def in_todays_words(self, stored: dict) -> dict:
        node, of_trainers = type(self).__name__.upper(), stored.get("TRAINER")
        if not isinstance(of_trainers, dict) or "DEPTH" in (stored.get("INPUT") or {}):
            return stored
        own = of_trainers.get(node) or {}
        return {**stored, "TRAINER": {**of_trainers, node: in_todays_words(own, self.defaults)}}

    def setting_defaults(self) -> dict[str, str]:
        own = flat_settings({"TRAINER": {type(self).__name__.upper(): self.defaults}})
        return super().setting_defaults() | own

    def resumable(self) -> dict[str, Any]:
        """What an interrupted run needs to resume: objects with a `state_dict`, by name."""
        parts = {"learner": self.method, "optim": self.optim, "sched": self.sched, "precision": self.precision}
        return {**parts, **self.method.training_state()}
