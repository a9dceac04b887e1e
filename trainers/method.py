"""The base class of all methods: a module whose parameters are what is trained."""

import contextlib
from collections.abc import Iterable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from yacs.config import CfgNode

from clip import Backbone, VisualPrompt
from dassl.errors import InputError, shown
from dassl.optim import build_lr_scheduler, build_optimizer
from prompts import Prompts, check_text, filled, load_prompts, template_problem
from trainers.context import TextContext
from trainers.fewshot import FewShotFeatures
from trainers.precision import NAMES as PRECISIONS
from trainers.settings import Settings, setting
from trainers.setup import Setup
from trainers.teacher import sentence_features

Optimization = tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]


class Method(nn.Module):
    """A few-shot method on a frozen vision-language model.

    Its parameters are what is trained, its `state_dict` is the checkpoint. A subclass supplies `build`, `set_classes`
    and `encode_classes` (or `logits`), and, where its loss is not the cross-entropy, `losses`. What only the training
    needs, such as a teacher, is made in `prepare_training`: a tuned model predicts without it.

    Args:
        setup: backbone, classes, sentences and length of the training.
        config: the settings, an instance of the class's own `Config`.

    Attributes:
        learns, source, verified_against: what is learned, where it was published, and what this implementation was
            compared with; for the table of methods.
        trainable_parameters: how many there are on BiomedCLIP with 4 classes and 16 shots; 0 for a method that learns
            nothing.
        class_specific: what is learned belongs to the classes it was learned on.
        text_depends_on_image: every image has text features of its own.
        needs_image_tokens: tokens are learned in the sequence of a vision transformer.
        closed_form: `fit` learns everything at once; there are no training steps.
        schedule_per_step: the learning rate is updated after every step instead of every epoch.
        reads: keys of the node OPTIM, for a method with its own `build_optimization`; the other keys of the optimiser
            and the schedule are then not read.
        context: the learned text context; None for methods that have none.
        classnames: names of the current classes, in label order.
        prompts_read: template and sentences, if the method has used them.
        scaled: multiplies a loss by the factor of fp16 training, for methods that compute gradients themselves.
    """

    learns: ClassVar[str] = ""
    trainable_parameters: ClassVar[int] = 0
    source: ClassVar[str] = ""
    verified_against: ClassVar[str] = ""
    class_specific: ClassVar[bool] = False
    text_depends_on_image: ClassVar[bool] = False
    needs_image_tokens: ClassVar[bool] = False
    closed_form: ClassVar[bool] = False
    reads: ClassVar[tuple[str, ...]] = ()
    schedule_per_step: bool = False
    context: TextContext | None
    prompts_read: Prompts | None
    _kept_text: Tensor | None = None

    class Config(Settings):
        """The settings of the method."""

        PREC: str = setting("fp32", "arithmetic of training steps", choices=PRECISIONS)

    def __init__(self, setup: Setup, config: Any):
        super().__init__()
        self.setup, self.config = setup, config
        self.classnames = list(setup.classnames)
        self.scaled = _unscaled
        self.context = self.prompts_read = None
        self.build()
        self.set_classes(self.classnames)
        if setup.for_training:
            self.prepare_training()

    def build(self) -> None:
        """Create what is learned; random starting values are drawn here."""

    def prepare_training(self) -> None:
        """Compute what only the losses need, such as the text features of a teacher."""

    def set_classes(self, classnames: list[str]) -> None:
        """Change the current classes; what was learned stays."""
        for name in classnames:
            check_text(name, f"the class name {shown(name)}")
        self.classnames = list(classnames)
        self._kept_text = None

    def encode_classes(self) -> Tensor:
        """Compute the normalised text features (C, D) of the current classes."""
        raise NotImplementedError

    def keep_text(self, features: Tensor) -> None:
        """Use these text features (C, D) of the current classes instead of computing them, until `set_classes`."""
        self._kept_text = features

    def text_features(self) -> Tensor:
        """Normalised text features (C, D) of the current classes: those that were kept, or computed ones."""
        return self.encode_classes() if self._kept_text is None else self._kept_text

    def logits(self, images: Tensor) -> Tensor:
        """Logits (B, C) of normalised image features (B, D): scaled cosine similarities."""
        return self.similarities(images, self.text_features())

    def losses(self, images: Tensor, labels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Logits (B, C) and the weighted parts of the loss, whose sum is minimised; the cross-entropy by default.

        `images` are normalised image features (B, D), `labels` is (B,).
        """
        logits = self.logits(images)
        return logits, {"ce": F.cross_entropy(logits, labels)}

    def training_step(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """`losses` of a batch, which has a "label" and either cached "features" or pixels, "img"."""
        return self.losses(self.image_features(batch), batch["label"])

    def image_features(self, batch: dict[str, Tensor]) -> Tensor:
        """Normalised image features (B, D) of a batch: the cached ones, or those of its pixels."""
        return batch["features"] if "features" in batch else self.encode_images(batch["img"])

    def encode_images(self, pixels: Tensor) -> Tensor:
        """Normalised features (B, D) of normalised pixels (B, 3, H, W) by the image tower with its visual prompt."""
        return F.normalize(self.backbone.encode_image(pixels, self.visual_prompt()).float(), dim=-1)

    def visual_prompt(self) -> VisualPrompt | None:
        """The tokens that are put into the image tower; None for none."""
        return None

    def adapted(self) -> contextlib.AbstractContextManager:
        """A context in which the towers compute with the method's changes inside them."""
        return contextlib.nullcontext()

    # Hooks that few methods need. `Tuner` calls them.

    @property
    def epochs(self) -> int:
        """How many epochs are trained."""
        return self.setup.epochs

    def build_optimization(self, optim: CfgNode) -> Optimization:
        """Optimiser and learning-rate schedule, from the node OPTIM of the configuration."""
        optimizer = build_optimizer(self, optim)
        return optimizer, build_lr_scheduler(optimizer, optim)

    def fit(self, data: FewShotFeatures) -> Iterable[float]:
        """Learn everything at once (`closed_form` methods); returns the losses of its iterations, if it has any."""
        raise NotImplementedError

    def before_training(self, data: FewShotFeatures) -> None:
        """Called before the first epoch; not called when an interrupted run is resumed."""

    def before_epoch(self, epoch: int, optimizer: torch.optim.Optimizer) -> None:
        """Called before each epoch; epochs count from 0."""

    def after_epoch(self, epoch: int) -> None:
        """Called after the last step of each epoch, before the checkpoint is written."""

    def after_training(self, data: FewShotFeatures) -> bool:
        """Called after the last epoch; returns whether it changed what was learned."""
        return False

    def expect(self, shapes: dict[str, tuple[int, ...]]) -> None:
        """Called with the names and shapes of a checkpoint's tensors before they are loaded.

        A method whose tensors have the size of the training images takes it from there if there are none.
        """

    def training_state(self) -> dict[str, Any]:
        """What an interrupted run needs beside the `state_dict`: objects with a `state_dict` of their own, by name."""
        return {}

    @classmethod
    def why_unsupported(cls, backbone: type[Backbone], config: Any, protocol: str) -> str:
        """Why the method cannot be used on a backbone or under a protocol, with some settings; "" if it can."""
        if cls.needs_image_tokens and not backbone.image_tokens:
            return (
                f"{cls.__name__} learns tokens in the sequence of a vision transformer, and the image tower of this "
                "backbone is a convolutional network"
            )
        if cls.class_specific and protocol == "base2new":
            return (
                f"{cls.__name__} learns weights of the training classes and has none for new classes, so it cannot be "
                "tested under the protocol base2new"
            )
        return ""

    # What subclasses build on.

    @property
    def backbone(self) -> Backbone:
        """The frozen backbone."""
        return self.setup.backbone

    @property
    def prompts(self) -> Prompts:
        """Clinical template and sentences of the data set, read at first use; an InputError where it has none."""
        if isinstance(self.setup.prompts, Prompts):
            return self.setup.prompts
        if not self.setup.prompts:
            raise InputError(
                f"{type(self).__name__} needs a clinical template and sentences for each class, and the data set names "
                "no prompt file: write one like prompts/btmri.json and set DATASET.PROMPTS"
            )
        self.prompts_read = self.prompts_read or load_prompts(self.setup.prompts, self.setup.template)
        return self.prompts_read

    @property
    def classes_matter(self) -> bool:
        """Whether a checkpoint can only be used with the classes that it was trained on."""
        return self.class_specific

    @property
    def stackable(self) -> bool:
        """Whether the prompts of several runs can be encoded in one forward pass of the text tower."""
        return False

    @property
    def image_tower_is_frozen(self) -> bool:
        """Whether an image has the same features at every step, so that they can be cached."""
        prompt = self.visual_prompt()
        return prompt is None or prompt.values is None

    def similarities(self, images: Tensor, text: Tensor) -> Tensor:
        """Cosine similarities (B, C) of normalised features (B, D) and (C, D), times the backbone's logit scale."""
        return self.backbone.logit_scale * images @ text.T

    def template_features(self, template: str, classnames: list[str]) -> Tensor:
        """Normalised text features (C, D) of one sentence per class; {} in the template stands for the class name."""
        if problem := template_problem(template):
            raise InputError(f"the template {shown(template)} must {problem}")
        sentences = [filled(template, name) for name in classnames]
        self._say_what_is_cut(sentences)
        return self.setup.encoder.sentences(sentences)

    def sentence_features(self, classnames: list[str], count: int) -> Tensor:
        """Normalised features (C, N, D) of the first N sentences of each class in the prompt file."""
        setting = f"TRAINER.{type(self).__name__.upper()}.N_PROMPTS"
        sentences = self.prompts.sentences(classnames, count, setting)
        self._say_what_is_cut([sentence for of_class in sentences for sentence in of_class])
        return sentence_features(self.setup.encoder, sentences)

    def _say_what_is_cut(self, sentences: list[str]) -> None:
        """Print a warning where sentences reach the length of the backbone's context, which it reads no further."""
        limit = self.backbone.context_length
        candidates = [text for text in sentences if len(text.encode()) > limit - 2]  # a token has at least one byte
        lengths = self.backbone.tokenize(candidates).mask.sum(1).tolist() if candidates else []
        if full := [text for text, length in zip(candidates, lengths, strict=True) if length >= limit]:
            print(
                f"warning: {len(full)} of {len(sentences)} sentences fill the {limit} tokens that "
                f"{self.backbone.name} reads, and are cut there: {shown(full[0])}"
            )


def _unscaled(loss: Tensor) -> Tensor:
    return loss
