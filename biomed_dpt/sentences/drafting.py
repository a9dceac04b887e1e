"""Draft sentences for classes of one's own with a language model, check them, and ask again for what fails."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from dassl.errors import InputError, first_line, shown
from prompts import check_text, template_problem
from prompts.rules import FEWEST_WORDS, MOST_WORDS, holds, near_duplicates, negations, wrong_length

Ask = Callable[[str, str], str]  # from an instruction and a request to the model's answer
ROUNDS = 8  # requests for one class
AT_ONCE = 25  # sentences asked for in one request
LARGEST_BRIEF = 2**20  # bytes
INSTRUCTION = f"""You write sentences that describe what one class of medical images shows, for a model that was
trained on captions of figures in papers. Rules for every sentence:
- It reads like a caption of one still image, and says only what is seen in it.
- It has {FEWEST_WORDS} to {MOST_WORDS} words, and holds the class name word for word, in varied places of the sentence.
- It says what is there. It holds no negation and no comparison, and names no other class.
- It differs from all other sentences in content and form: site, view, size, texture, extent, composition.
- Typical looks come first, rare ones last.
Answer with one sentence per line, and nothing else."""


@dataclass(frozen=True)
class Brief:
    """What the language model is told about a data set.

    Attributes:
        modality: what the images are, such as "thyroid ultrasound".
        template: a sentence with {} for the class name.
        classes: class name -> what its images show, in some words.
    """

    modality: str
    template: str
    classes: dict[str, str]


def read_brief(path: Path) -> Brief:
    """Read a brief: JSON with "modality", "template" and "classes" (class name -> what its images show).

    Raises:
        InputError: it cannot be read, or something is missing or of another type.
    """
    try:
        if path.stat().st_size > LARGEST_BRIEF:
            raise ValueError(f"it has more than {LARGEST_BRIEF:,} bytes")
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"the brief '{path}' cannot be read as JSON: {first_line(error)}") from error
    keys = {"modality": str, "template": str, "classes": dict}
    if not isinstance(content, dict) or any(not isinstance(content.get(key), kind) for key, kind in keys.items()):
        raise InputError(f"the brief '{path}' must hold 'modality' and 'template' (texts) and 'classes' (an object)")
    if problem := template_problem(content["template"]):
        raise InputError(f"the brief '{path}': 'template' is {shown(content['template'])}; it must {problem}")
    classes = content["classes"]
    if len(classes) < 2 or not all(isinstance(about, str) for about in classes.values()):
        raise InputError(f"the brief '{path}': 'classes' must map two or more class names to texts")
    for text in (content["modality"], content["template"], *classes):
        check_text(text, f"the brief '{path}': {shown(text)}")
    return Brief(content["modality"], content["template"], classes)


def why_refused(sentence: str, name: str, others: Sequence[str]) -> str:
    """Why a drafted sentence of a class is not taken, in words; "" if it is.

    Args:
        sentence: the draft.
        name: its class.
        others: the other class names.
    """
    if wrong_length(sentence):
        return f"it does not have {FEWEST_WORDS} to {MOST_WORDS} words"
    if denied := negations(sentence):
        return f"it denies or compares ('{denied[0]}')"
    if not holds(sentence, name):
        return f"it does not hold '{name}'"
    named = [other for other in others if holds(sentence, other) and not holds(name, other)]
    return f"it names '{named[0]}'" if named else ""


def draft(brief: Brief, count: int, ask: Ask) -> dict[str, list[str]]:
    """Sentences for every class that keep the rules.

    Args:
        brief: what the classes show.
        count: sentences per class.
        ask: sends an instruction and a request to a language model.

    Raises:
        InputError: after 8 requests a class still has too few sentences; the message says why drafts were refused.
    """
    found: dict[str, list[str]] = {}
    for name in tqdm(brief.classes, desc="drafting", unit="class", delay=2):
        taken = [text for of_class in found.values() for text in of_class]
        found[name] = _draft_class(brief, name, count, ask, taken)
    return found


def _draft_class(brief: Brief, name: str, count: int, ask: Ask, taken: list[str]) -> list[str]:
    others = [other for other in brief.classes if other != name]
    kept: list[str] = []
    refused: list[str] = []
    for _ in range(ROUNDS):
        answer = ask(INSTRUCTION, _request(brief, name, others, min(count - len(kept), AT_ONCE), kept, refused))
        refused = []
        for sentence in sentences_of(answer):
            reason = why_refused(sentence, name, others)
            if not reason and any(len(kept + taken) in pair for pair in near_duplicates([*kept, *taken, sentence])):
                reason = "it is (nearly) the same as another one"
            if reason:
                refused.append(f"{sentence} ({reason})")
            elif len(kept) < count:
                kept.append(sentence)
        if len(kept) == count:
            return kept
    raise InputError(
        f"after {ROUNDS} requests, '{name}' has {len(kept)} of {count} sentences; the last drafts were refused: "
        f"{shown(refused[:3], 600)}; ask for fewer with --count, or use another model"
    )


def _request(
    brief: Brief, name: str, others: Sequence[str], count: int, kept: Sequence[str], refused: Sequence[str]
) -> str:
    parts = [
        f"Images: {brief.modality}.",
        f"Class: {name}. {brief.classes[name]}".strip(),
        f"Other classes, which must not be named: {'; '.join(others)}.",
        f"Write {count} sentences.",
    ]
    if kept:
        parts.append("These exist already, write others:\n" + "\n".join(kept))
    if refused:
        parts.append("These were refused, do better:\n" + "\n".join(refused[:10]))
    return "\n".join(parts)


def sentences_of(answer: str) -> list[str]:
    """The sentences in a model's answer: its lines, without the numbers, bullets and quotation marks around them."""
    lines = [re.sub(r"^\s*(?:\d+[.)]|[-*•])\s*", "", line).strip().strip("\"'“”") for line in answer.splitlines()]
    return [line for line in lines if line]


def as_file(brief: Brief, sentences: dict[str, list[str]], dataset: str) -> dict[str, Any]:
    """The content of a prompt file."""
    return {"dataset": dataset, "version": 1, "template": brief.template, "classes": sentences}
