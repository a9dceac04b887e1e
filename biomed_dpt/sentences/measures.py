"""How well sentences tell classes apart, and how different those of one class are."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from prompts.rules import words_of

Features = NDArray[np.float64]


def word_features(classes: Mapping[str, Sequence[str]], without: Sequence[str] = ()) -> list[Features]:
    """TF-IDF vectors (N, V), of length 1, of the sentences of each class.

    Args:
        classes: sentences by class name.
        without: texts whose words are deleted first, such as the class names.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer  # takes a second to load

    deleted = {word for text in without for word in words_of(text)}
    texts = [
        " ".join(w for w in words_of(text) if w not in deleted) for of_class in classes.values() for text in of_class
    ]
    vectors = TfidfVectorizer(token_pattern=r"\S+").fit_transform(texts).toarray()
    ends = np.cumsum([len(of_class) for of_class in classes.values()])
    return np.split(vectors, ends[:-1])


def nearest_classes(features: Sequence[Features]) -> list[NDArray[np.int64]]:
    """For each sentence (N,) of each class, the class whose mean is most similar to it; its own is taken without it.

    Args:
        features: vectors (N, V) of length 1 of the sentences of each class; at least two in each.
    """
    sums = np.stack([of_class.sum(0) for of_class in features])
    found = []
    for own, of_class in enumerate(features):
        similarity = of_class @ (sums / np.linalg.norm(sums, axis=1, keepdims=True)).T
        rest = sums[own] - of_class
        similarity[:, own] = (of_class * rest).sum(1) / np.maximum(np.linalg.norm(rest, axis=1), 1e-12)
        found.append(similarity.argmax(1))
    return found


def separability(features: Sequence[Features]) -> float:
    """The share of sentences that are nearest to the mean of their own class, as `nearest_classes` finds it."""
    right = [(nearest == own).mean() for own, nearest in enumerate(nearest_classes(features))]
    return float(np.mean(right))


def effective_rank(features: Features) -> float:
    """How many different directions the vectors (N, V) of one class have: from 1 to N − 1.

    The exponential of the entropy of the shares that the principal directions have of the variance (Roy and Vetterli,
    EUSIPCO 2007).
    """
    values = np.linalg.svd(features - features.mean(0), compute_uv=False) ** 2
    shares = values[values > 1e-12 * max(values.max(), 1e-300)] / values.sum() if values.sum() else np.ones(1)
    return float(np.exp(-(shares * np.log(shares)).sum()))
