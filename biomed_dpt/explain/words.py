"""The words of the vocabulary that are nearest to a learned context."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from clip import Backbone
from dassl.errors import InputError
from trainers.predictor import Predictor


@dataclass(frozen=True)
class Neighbour:
    """A word of the vocabulary, as the tokeniser spells it, with Euclidean distance and cosine to a vector."""

    word: str
    distance: float
    cosine: float


@dataclass(frozen=True)
class LearnedVector:
    """A vector of a learned context.

    Attributes:
        classname: the class it belongs to; "" for a context of all classes.
        position: in the context, counted from 1.
        neighbours: nearest word first.
    """

    classname: str
    position: int
    neighbours: list[Neighbour]


def nearest(predictor: Predictor, count: int = 5) -> list[LearnedVector]:
    """Find the words whose embeddings have the smallest Euclidean distance to each learned vector.

    CoOp (arXiv 2109.01134) reads its contexts in this way.

    Of a context in several layers of the text tower, the vectors of the first layer are compared: the others stand in
    for hidden states, not for words. Of CoCoOp, the vectors before the image's shift are compared.

    Args:
        predictor: the tuned model.
        count: number of words for each vector.

    Raises:
        InputError: the method learns no text context, or `count` is not from 1 to the size of the vocabulary.
    """
    context = predictor.method.context
    if context is None:
        raise InputError(no_context(predictor.bundle.method))
    return nearest_to(context.ctx, predictor.backbone, predictor.classnames, count)


def no_context(method: str) -> str:
    """Why a method has no learned vectors, for a message."""
    return f"{method} learns no text context; words are found for methods that do, such as CoOp"


@torch.no_grad()
def nearest_to(vectors: Tensor, backbone: Backbone, classnames: Sequence[str], count: int) -> list[LearnedVector]:
    """Find the words whose embeddings have the smallest Euclidean distance to each vector.

    Args:
        vectors: a context of all classes (n, W), or one per class (C, n, W).
        backbone: its vocabulary is searched.
        classnames: C names, in the order of the vectors.
        count: number of words for each vector.

    Raises:
        InputError: `count` is not from 1 to the size of the vocabulary.
    """
    words, embeddings = backbone.vocabulary()
    if not 1 <= count <= len(words):
        raise InputError(f"the number of words is {count}; it must be from 1 to {len(words)}, the vocabulary's size")
    names, groups = (classnames, vectors) if vectors.dim() == 3 else ([""], vectors[None])
    found = []
    for name, group in zip(names, groups.float(), strict=True):
        distances = torch.cdist(group, embeddings, compute_mode="donot_use_mm_for_euclid_dist")
        values, places = distances.topk(count, largest=False)
        cosines = F.cosine_similarity(group[:, None], embeddings[places], dim=-1)
        for position, row in enumerate(zip(places.tolist(), values.tolist(), cosines.tolist(), strict=True), start=1):
            neighbours = [Neighbour(words[place], *numbers) for place, *numbers in zip(*row, strict=True)]
            found.append(LearnedVector(name, position, neighbours))
    return found
