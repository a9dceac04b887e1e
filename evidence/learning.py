"""Records what a learned text context becomes: its distances to texts and to its start, after every epoch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from biomed_dpt.explain.words import LearnedVector, nearest_to, no_context
from dassl.config.schema import defaults_of
from dassl.errors import InputError
from prompts import Prompts, filled, load_prompts

if TYPE_CHECKING:
    from torch import Tensor

    from trainers.tuner import Tuner

Row = list[float]


@dataclass
class Learning:
    """One training. Lists over epochs begin with the state before the first epoch.

    Attributes:
        about: facts such as method, backbone, shots and seed, by name, for readers.
        classnames: names of the C classes, in label order.
        texts: name of a text ("template", "photo", "teacher") → what it is, for readers.
        distances: name of a text → per epoch the distance of each class, see `text_distances`.
        moved: per epoch the Euclidean distance of each context vector to its start, in the order of `start`.
        losses: mean training loss of each epoch; one entry less than the others.
        start: each vector before the training, with its nearest words.
        learned: each vector of the model that the training leaves, with its nearest words.
    """

    about: dict[str, Any]
    classnames: list[str]
    texts: dict[str, str]
    distances: dict[str, list[Row]]
    moved: list[Row] = field(default_factory=list)
    losses: Row = field(default_factory=list)
    start: list[LearnedVector] = field(default_factory=list)
    learned: list[LearnedVector] = field(default_factory=list)


def text_distances(one: "Tensor", other: "Tensor") -> "Tensor":
    """1 − cosine of each row of two matrices (C, D) of normalised features: (C,), fp64, from 0 to 2.

    It is computed as half of the squared Euclidean distance. This is the same number for vectors of length 1, and equal
    features have exactly the distance 0.
    """
    return (one.double() - other.double()).square().sum(-1) / 2


def vector_distances(vectors: "Tensor", start: "Tensor") -> "Tensor":
    """Euclidean distances of context vectors (…, W) to their starts, one after another: (n,), fp64."""
    return (vectors.double() - start.double()).norm(dim=-1).flatten()


def refuse_no_context(trainers: "Sequence[Tuner]") -> None:
    """Refuse trainers whose method learns no text context.

    Raises:
        InputError: with the names of the methods.
    """
    if without := [trainer.cfg.TRAINER.NAME for trainer in trainers if trainer.method.context is None]:
        raise InputError(no_context(" and ".join(without)) + "; name such methods with --trainers")


def train_recorded(trainer: "Tuner", count: int = 5, after_epoch: Callable[[], object] = lambda: None) -> Learning:
    """Train and test, and record the text context before the first and after every epoch.

    The features are those of the learned prompts alone, in fp32: of CoCoOp, before the image's shift. Recording draws
    no random numbers, so the training is the same as without it. It takes the place of `trainer.on_epoch_end`.

    Args:
        trainer: newly built.
        count: number of words for each learned vector.
        after_epoch: called after every epoch.

    Raises:
        InputError: the method learns no text context, the prompt file has too few sentences, or `count` is not from 1
            to the size of the vocabulary.
    """
    refuse_no_context([trainer])
    method, cfg = trainer.method, trainer.cfg
    names = list(method.classnames)
    texts, features = _texts(trainer)
    about = {"method": cfg.TRAINER.NAME, "backbone": cfg.MODEL.BACKBONE.NAME, "dataset": cfg.DATASET.NAME}
    about |= {"shots": cfg.DATASET.NUM_SHOTS, "seed": cfg.SEED, "epochs": trainer.max_epoch}
    learning = Learning(about, names, texts, {name: [] for name in features})
    start = _context(trainer).ctx.detach().clone()
    learning.start = nearest_to(start, trainer.backbone, names, count)

    def record() -> None:
        found = _features(trainer)
        for name, of_text in features.items():
            learning.distances[name].append(text_distances(found, of_text).tolist())
        learning.moved.append(vector_distances(_context(trainer).ctx.detach(), start).tolist())

    def on_epoch_end(metrics: dict[str, float]) -> None:
        record()
        learning.losses.append(metrics["loss"])
        after_epoch()

    record()
    trainer.on_epoch_end = on_epoch_end
    trainer.train()
    learning.learned = nearest_to(_context(trainer).ctx.detach(), trainer.backbone, names, count)
    if "all" in getattr(trainer, "evaluation", {}):
        learning.about["accuracy in %"] = trainer.evaluation["all"]["accuracy"]
    return learning


def _texts(trainer: "Tuner") -> tuple[dict[str, str], dict[str, "Tensor"]]:
    """What the context is compared with, in words and as normalised features (C, D).

    Without a prompt file there is no clinical template and no teacher.
    """
    from trainers.frozen_text import FrozenText
    from trainers.teacher import mean_feature, sentence_features

    method, encoder, names = trainer.method, trainer.encoder, trainer.method.classnames
    plain = defaults_of(FrozenText.Config)
    templates, teacher = {"photo": plain["TEMPLATE"]}, {}
    texts = {"photo": f"the template of CoOp: {plain['TEMPLATE']}"}
    if given := method.setup.prompts:
        # Not `method.prompts`, which notes in the results that the method has read them.
        prompts = given if isinstance(given, Prompts) else load_prompts(given, method.setup.template)
        count = getattr(method.config, "N_PROMPTS", plain["N_PROMPTS"])
        sentences = prompts.sentences(names, count)
        teacher = {"teacher": mean_feature(sentence_features(encoder, sentences))}
        templates = {"template": prompts.template, **templates}
        texts = {"template": f"the clinical template: {prompts.template}", **texts}
        texts["teacher"] = f"the teacher: mean feature of {count} sentences per class"
    features = {
        name: encoder.sentences([filled(template, classname) for classname in names])
        for name, template in templates.items()
    }
    return texts, features | teacher


def _context(trainer: "Tuner") -> Any:
    return trainer.method.context


def _features(trainer: "Tuner") -> "Tensor":
    """Normalised text features (C, D) of the learned prompts, without dropout."""
    import torch

    trainer.backbone.set_text_dropout(False)  # the next epoch turns it on again where the settings ask for it
    with torch.no_grad(), trainer.method.adapted():
        return _context(trainer).features().float()
