"""Check the sentences of prompt files: what is wrong with them, and how well they tell classes apart."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from biomed_dpt.sentences.measures import Features, effective_rank, nearest_classes, separability, word_features
from prompts import Prompts
from prompts.rules import holds, holds_any, near_duplicates, negations, wrong_length

MOST_NEGATIONS = 0.04  # share of a class's sentences
FEWEST_NAMED = 0.7  # share of a file's sentences that hold the class name
LISTED = 3
HEADER = [
    "file",
    "classes",
    "sentences",
    "words",
    "named",
    "negations",
    "most_in_a_class",
    "other_class",
    "separable",
    "without_names",
    "rank",
]


@dataclass
class Findings:
    """What the check of one file found.

    Attributes:
        name: of the file.
        faults: what must be mended.
        advice: what should be.
        classes, sentences: how many there are.
        shortest, longest: words in a sentence.
        named: share of the sentences that hold the class name, or one of `Prompts.names`.
        negations: sentences that deny or compare; `most_negations` in the class that has most.
        others: sentences that hold the name or a keyword of another class.
        separability, without_names: share of the sentences that are nearest to their own class by TF-IDF, with all
            words and without those of the class names; NaN where a class has one sentence.
        rank: mean effective rank of the TF-IDF vectors of a class.
    """

    name: str
    classes: int
    sentences: int
    shortest: int
    longest: int
    faults: list[str] = field(default_factory=list)
    advice: list[str] = field(default_factory=list)
    named: float = 0.0
    negations: int = 0
    most_negations: int = 0
    others: int = 0
    separability: float = float("nan")
    without_names: float = float("nan")
    rank: float = float("nan")

    def row(self) -> list[str]:
        """The numbers in the order of HEADER, as text."""
        counts = [self.negations, self.most_negations, self.others]
        shares = [f"{share:.3f}" for share in (self.separability, self.without_names)]
        sizes = [str(self.classes), str(self.sentences), f"{self.shortest}-{self.longest}", f"{self.named:.0%}"]
        return [self.name, *sizes, *map(str, counts), *shares, f"{self.rank:.1f}"]


def check(prompts: Prompts) -> Findings:
    """Check the sentences of one file."""
    texts = [text for of_class in prompts.classes.values() for text in of_class]
    lengths = [len(text.split()) for text in texts] or [0]
    found = Findings(prompts.source.stem, len(prompts.classes), len(texts), min(lengths), max(lengths))
    _count(prompts, found)
    _duplicates(prompts, found)
    _names(prompts, found)
    _negations(prompts, found)
    _others(prompts, found)
    if len(prompts.classes) > 1 and all(len(of_class) > 1 for of_class in prompts.classes.values()):
        features = word_features(prompts.classes)
        found.separability = separability(features)
        found.without_names = separability(word_features(prompts.classes, list(prompts.classes)))
        found.rank = float(np.mean([effective_rank(of_class) for of_class in features]))
    return found


def _count(prompts: Prompts, found: Findings) -> None:
    counts = {name: len(of_class) for name, of_class in prompts.classes.items()}
    if len({*counts.values()}) > 1:
        found.faults.append(f"the classes have different numbers of sentences: {counts}")
    for name, of_class in prompts.classes.items():
        wrong = [place for place, text in enumerate(of_class, 1) if wrong_length(text)]
        if wrong:
            found.faults.append(f"{name}: fewer than 8 or more than 40 words in {_places(wrong)}")


def _duplicates(prompts: Prompts, found: Findings) -> None:
    places = [(name, k) for name, of_class in prompts.classes.items() for k, _ in enumerate(of_class, 1)]
    pairs = near_duplicates([text for of_class in prompts.classes.values() for text in of_class])
    if pairs:
        listed = "; ".join(f"{_place(places[i])} and {_place(places[k])}" for i, k in pairs[:LISTED])
        found.faults.append(f"{len(pairs)} pairs of sentences are (nearly) the same: {listed}")


def _names(prompts: Prompts, found: Findings) -> None:
    named = 0
    for name, of_class in prompts.classes.items():
        words = [name, *prompts.names.get(name, [])]
        missing = [place for place, text in enumerate(of_class, 1) if not holds_any(text, words)]
        named += len(of_class) - len(missing)
        if prompts.graded and missing:
            found.faults.append(f"{name}: the class, which is a degree, is not named in {_places(missing)}")
    found.named = named / max(found.sentences, 1)
    if found.named < FEWEST_NAMED:
        found.advice.append(
            f"{found.named:.0%} of the sentences hold the class name; {FEWEST_NAMED:.0%} or more should"
        )


def _negations(prompts: Prompts, found: Findings) -> None:
    for name, of_class in prompts.classes.items():
        denying = [place for place, text in enumerate(of_class, 1) if negations(text)]
        found.negations += len(denying)
        found.most_negations = max(found.most_negations, len(denying))
        if len(denying) > MOST_NEGATIONS * len(of_class):
            found.advice.append(f"{name}: denial or comparison in {_places(denying)}; say what is seen")


def _others(prompts: Prompts, found: Findings) -> None:
    for name, of_class in prompts.classes.items():
        own = [name, *prompts.names.get(name, []), *prompts.keywords.get(name, [])]
        foreign = [
            word
            for other in prompts.classes
            if other != name
            for word in (other, *prompts.keywords.get(other, []))
            if not any(holds(mine, word) for mine in own)
        ]
        naming = [place for place, text in enumerate(of_class, 1) if holds_any(text, foreign)]
        found.others += len(naming)
        if naming:
            found.advice.append(f"{name}: name or keyword of another class in {_places(naming)}")


def confusions(prompts: Prompts, features: Sequence[Features], count: int = 5) -> list[str]:
    """The pairs of classes whose sentences are confused most, in words, with the places of those sentences.

    Args:
        prompts: the file.
        features: vectors (N, D) of length 1 of the sentences of each class.
        count: how many pairs.
    """
    names, wrong = list(prompts.classes), []
    for own, nearest in enumerate(nearest_classes(features)):
        for other in {*nearest.tolist()} - {own}:
            wrong.append((names[own], names[other], (np.flatnonzero(nearest == other) + 1).tolist()))
    wrong.sort(key=lambda entry: -len(entry[2]))
    return [f"{own}, taken for {other}: {_places(places)}" for own, other, places in wrong[:count]]


def _places(places: Sequence[int]) -> str:
    """Numbers of sentences, from 1, in words."""
    return ("sentence " if len(places) == 1 else "sentences ") + ", ".join(map(str, places))


def _place(place: tuple[str, int]) -> str:
    return f"{place[0]} {place[1]}"
