"""Rules for sentences that describe a class, as far as the standard library can check them."""

import re
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher
from itertools import combinations

FEWEST_WORDS, MOST_WORDS = 8, 40
NEAR = 0.9  # two sentences whose words agree to this share are near duplicates
NEGATION = re.compile(
    r"\b(no|not|non|none|never|neither|nor|without|absen(?:t|ce)|lack(?:s|ing)?|free of|free from|devoid|unlike|"
    r"rather than|instead of|negative for|in contrast to|as opposed to|compared (?:to|with))\b",
    re.IGNORECASE,
)
SPELLINGS = (("tumour", "tumor"), ("oedema", "edema"), ("haem", "hem"), ("-", " "))


def words_of(text: str) -> list[str]:
    """The words of a text in lower case, in one spelling, and without a plural s."""
    text = text.lower()
    for other, one in SPELLINGS:
        text = text.replace(other, one)
    return [word[:-1] if len(word) > 3 and word.endswith("s") else word for word in re.findall(r"[a-z0-9]+", text)]


def holds(text: str, phrase: str) -> bool:
    """Whether a text holds a word or phrase, whatever its spelling, case and plural."""
    return f" {' '.join(words_of(phrase))} " in f" {' '.join(words_of(text))} "


def holds_any(text: str, phrases: Iterable[str]) -> bool:
    """Whether a text holds one of several phrases."""
    return any(holds(text, phrase) for phrase in phrases)


def negations(text: str) -> list[str]:
    """The words in a text that deny or compare, such as "without" and "rather than"; "non-" counts too."""
    return [found.lower() for found in NEGATION.findall(text)]


def wrong_length(text: str) -> bool:
    """Whether a sentence has fewer than 8 or more than 40 words."""
    return not FEWEST_WORDS <= len(text.split()) <= MOST_WORDS


def near_duplicates(sentences: Sequence[str]) -> list[tuple[int, int]]:
    """Pairs of places of sentences whose sequences of words agree to 90 % or more (`difflib`'s ratio)."""
    words = [words_of(text) for text in sentences]
    found = []
    for (i, first), (k, second) in combinations(enumerate(words), 2):
        shared = 2 * len({*first} & {*second})
        if shared < 0.7 * NEAR * (len({*first}) + len({*second})):  # a bound that spares most comparisons
            continue
        if SequenceMatcher(None, first, second, autojunk=False).ratio() >= NEAR:
            found.append((i, k))
    return found
