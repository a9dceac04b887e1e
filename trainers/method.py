"""What a method is: the frozen backbone it stands on, what it learns, its loss, and what it cannot work with."""

import contextlib
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from yacs.config import CfgNode

from clip import Backbone, VisualPrompt
from dassl.engine import TrainerX
from dassl.errors import InputError, unknown_name
from dassl.optim import build_lr_scheduler, build_optimizer
from prompts import Prompts, load_prompts
from trainers.context import TextContext
from trainers.features import Encoder
from trainers.teacher import sentence_features


class Method(TrainerX):
    """A method supplies `build_prompts`, `set_classes`, `text_features` and `loss`.

    Attributes:
        defaults: the method's settings, the node TRAINER.<NAME> of the configuration.
        learns, numbers, source, checked: what is learned, how many numbers on BiomedCLIP with 4 classes and 16 shots,
            where it was published, what it was checked against; for the table of methods.
        class_specific: what is learned belongs to the classes it was learned on.
        needs_image_tokens: it learns tokens in the image tower's sequence.
        choices: of settings that are one of a few words, the words.
        schedule_per_step: the learning rate follows every step instead of every epoch.
        visual_prompt: what is put into the image tower; None for nothing.
        context: the text context, for methods whose text features are those of its prompts.
        backbone: the frozen model, on the device; runs in one process share it.
        encoder: the backbone's features of sentences and images, kept on disk.
        classnames: names of the classes at hand, in label order.
        logged: a context manager around everything that the run prints.
    """

    learns: ClassVar[str] = ""
    numbers: ClassVar[int] = 0
    choices: ClassVar[dict[str, tuple[str, ...]]] = {}
    source: ClassVar[str] = ""
    checked: ClassVar[str] = ""
    class_specific: ClassVar[bool] = False
    needs_image_tokens: ClassVar[bool] = False
    schedule_per_step = False
    visual_prompt: VisualPrompt | None = None
    context: TextContext | None = None
    logged = contextlib.nullcontext
    prompts_read: Prompts | None = None  # what was read of the prompt file, for the results
    backbone: Backbone
    encoder: Encoder
    classnames: list[str]

    def build_prompts(self) -> nn.Module:
        """Build what the method needs; returns the module that is learned (nothing in it: nothing to train)."""
        raise NotImplementedError

    def set_classes(self, classnames: list[str]) -> None:
        """Rebuild what depends on the class names; what was learned stays."""
        raise NotImplementedError

    def text_features(self) -> Tensor:
        """Normalised text features (C, D) of the classes at hand."""
        raise NotImplementedError

    def loss(self, batch: dict) -> tuple[Tensor, dict[str, Tensor]]:
        """Logits (B, C) and the weighted parts of the loss, which are added up."""
        raise NotImplementedError

    def logits(self, features: Tensor) -> Tensor:
        """Logits (B, C) of normalised image features (B, D): scaled cosine similarities."""
        return self.backbone.logit_scale * features @ self.text_features().T

    def image_features(self, batch: dict) -> Tensor:
        """Normalised image features (B, D) of a batch, encoded now or ahead of time."""
        if "features" in batch:
            return batch["features"]
        return F.normalize(self.backbone.encode_image(batch["img"], self.visual_prompt).float(), dim=-1)

    def adapted(self) -> contextlib.AbstractContextManager:
        """A context in which the towers compute with what the method changes inside them, if it does."""
        return contextlib.nullcontext()

    def build_optimization(self) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
        """Optimiser and schedule over the learner's parameters, from OPTIM."""
        optimizer = build_optimizer(self.learner, self.cfg.OPTIM)
        return optimizer, build_lr_scheduler(optimizer, self.cfg.OPTIM)

    @classmethod
    def refusal(cls, backbone: type[Backbone], cfg: CfgNode) -> str:
        """Why the method cannot work on a backbone, or under the protocol and settings of a run; "" where it can.

        Raises:
            InputError: a setting is none of its choices.
        """
        node = f"TRAINER.{cls.__name__.upper()}"
        for key, words in cls.choices.items():
            value = cfg.TRAINER[cls.__name__.upper()][key]
            if value not in words:
                raise unknown_name(f"choice ({node}.{key})", value, words)
        if cls.needs_image_tokens and not backbone.image_tokens:
            return (
                f"{cls.__name__} learns tokens in the sequence of a vision transformer, and the image tower of "
                f"{cfg.MODEL.BACKBONE.NAME} is a convolutional network, which has none"
            )
        if cls.class_specific and cfg.PROTOCOL == "base2new":
            return (
                f"{cls.__name__} learns weights of the classes that it is trained on and has none for new ones: "
                "the protocol base2new has no meaning for it"
            )
        return ""

    @property
    def classes_matter(self) -> bool:
        """Whether what is learned serves no other classes than those it was learned on."""
        return self.class_specific or (self.context is not None and self.context.ctx.dim() == 3)

    @property
    def image_tower_is_frozen(self) -> bool:
        """Whether images have the same features at every step, so that they can be encoded ahead and kept."""
        return self.visual_prompt is None or self.visual_prompt.values is None

    @property
    def stackable(self) -> bool:
        """Whether a step's prompts can be encoded together with those of other runs."""
        plain = self.context is not None and self.context.deep is None and self.stream is not None
        return plain and not self.settings.get("TEXT_DROPOUT", False)

    def template_texts(self, classnames: list[str]) -> list[str]:
        """The sentence TEMPLATE of each class."""
        return [self.settings.TEMPLATE.format(name) for name in classnames]

    def sentence_features(self, classnames: list[str]) -> Tensor:
        """Normalised features (C, N, D) of N_PROMPTS sentences of the prompt file for each class."""
        return sentence_features(self.encoder, self.prompts.sentences(classnames, self.settings.N_PROMPTS))

    @property
    def steps_per_epoch(self) -> int:
        return len(self.train_loader_x)

    @property
    def settings(self) -> Any:
        """The method's own node of the configuration."""
        return self.cfg.TRAINER[type(self).__name__.upper()]

    @property
    def prompts(self) -> Prompts:
        """Template and sentences of the data set; read only by methods that use them."""
        dataset = self.dm.dataset
        if not dataset.prompts:
            raise InputError(
                f"{type(self).__name__} needs a clinical template and sentences per class, and the data set "
                f"{type(dataset).__name__} names no prompt file: write one like prompts/btmri.json, set DATASET.PROMPTS"
            )
        self.prompts_read = load_prompts(dataset.prompts)
        return self.prompts_read
