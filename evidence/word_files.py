"""Writes what learned text contexts became: words.json, distances.csv and words.md."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from tabulate import tabulate

from biomed_dpt.explain.words import LearnedVector, Neighbour
from dassl.utils import atomic_path
from dassl.utils.csvtext import csv_text
from evidence.learning import Learning
from sweep.report.escape import markdown

FILES = ("words.json", "distances.csv", "words.md")
VERSION = 1
HEADER = ("method", "epoch", "quantity", "of", "value")
SAME = 1e-6  # a vector that is no further from a word's embedding starts from this word


def write_files(trainings: Sequence[Learning], folder: Path) -> None:
    """Write all numbers (words.json), the curves as a table (distances.csv) and tables for readers (words.md)."""
    content = {"version": VERSION, "trainings": [asdict(training) for training in trainings]}
    texts = (
        json.dumps(content, allow_nan=False),
        csv_text(HEADER, [row for training in trainings for row in _rows(training)]),
        "\n\n".join(["# Learned words", *(words_text(training) for training in trainings)]) + "\n",
    )
    for name, text in zip(FILES, texts, strict=True):
        with atomic_path(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")


def mean(values: Sequence[float]) -> float:
    """The mean of at least one number."""
    return sum(values) / len(values)


def title(training: Learning) -> str:
    """Method, data and accuracy of a training, on one line."""
    about = training.about
    text = f"{about['method']}, {about['dataset']}, {about['backbone']}, K = {about['shots']}, seed {about['seed']}"
    accuracy = about.get("accuracy in %")
    return text if accuracy is None else f"{text}, accuracy {accuracy:.1f} %"


def words_text(training: Learning) -> str:
    """The tables of one training, as Markdown: distances before and after, and the nearest words of each vector."""
    distances = [
        [markdown(about), f"{mean(training.distances[name][0]):.4f}", f"{mean(training.distances[name][-1]):.4f}"]
        for name, about in training.texts.items()
    ]
    vectors = [
        [
            markdown(learned.classname or "all"),
            str(learned.position),
            _start_word(start),
            f"{moved:.3f}",
            ", ".join(f"{markdown(near.word)} ({near.distance:.3f})" for near in learned.neighbours),
        ]
        for start, learned, moved in zip(training.start, training.learned, training.moved[-1], strict=True)
    ]
    epochs = len(training.losses)
    parts = [
        f"## {markdown(title(training))}",
        _table(distances, ["1 − cosine to (mean over classes)", "before", f"after epoch {epochs}"]),
        _table(vectors, ["class", "vector", "starts as", "moved", "nearest words (distance)"]),
        "Moved: Euclidean distance to the start after the last epoch. Distances to words are Euclidean, too.",
    ]
    return "\n\n".join(parts)


def _start_word(vector: LearnedVector) -> str:
    nearest: Neighbour = vector.neighbours[0]
    word = markdown(nearest.word)
    return word if nearest.distance <= SAME else f"no word; nearest: {word} ({nearest.distance:.3f})"


def _table(rows: list[list[str]], header: list[str]) -> str:
    return tabulate(rows, header, tablefmt="github", disable_numparse=True)


def _rows(training: Learning) -> Iterator[tuple]:
    """The curves of one training in rows of HEADER."""
    method = training.about["method"]
    names = [f"{vector.classname} {vector.position}".strip() for vector in training.start]
    for epoch, moved in enumerate(training.moved):
        for text, of_epochs in training.distances.items():
            quantity = f"1 - cosine to {text}"
            yield method, epoch, quantity, "mean over classes", mean(of_epochs[epoch])
            for pair in zip(training.classnames, of_epochs[epoch], strict=True):
                yield method, epoch, quantity, *pair
        for pair in zip(names, moved, strict=True):
            yield method, epoch, "Euclidean distance of vector to its start", *pair
        if epoch:
            yield method, epoch, "training loss", "", training.losses[epoch - 1]
