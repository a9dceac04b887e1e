"""Sentences as features of a backbone's text tower."""

from collections.abc import Iterator, Sequence

import numpy as np

from biomed_dpt.sentences.measures import Features
from clip import build_backbone
from prompts import Prompts


def text_features(backbone: str, path: str, files: Sequence[Prompts]) -> Iterator[list[Features]]:
    """For each file, the normalised features (N, D) of the sentences of each class.

    Args:
        backbone: its registered name.
        path: folder with its weights; "" for the source that its class names.
        files: the prompt files.
    """
    tower = build_backbone(backbone, path)
    for prompts in files:
        sizes = [len(of_class) for of_class in prompts.classes.values()]
        texts = [text for of_class in prompts.classes.values() for text in of_class]
        features = tower.encode_sentences(texts).double().numpy()
        features /= np.linalg.norm(features, axis=1, keepdims=True)
        yield np.split(features, np.cumsum(sizes)[:-1])
