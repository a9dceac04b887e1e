"""Read and check the prompt files, prompts/<dataset>.json."""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dassl.errors import InputError, shown, unknown_name
from prompts.text import check_text, template_problem

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Prompts:
    """The template and the sentences of one data set.

    Attributes:
        source: the file they were read from.
        template: a sentence with one {} for the class name.
        classes: class name -> sentences that describe the appearance of the class.
        version: of the sentences; 1 where the file does not say.
        names: class name -> further words that name the class in a sentence, for the check of sentences.
        keywords: class name -> words that belong to this class alone, for the check of sentences.
        graded: the classes are degrees of one thing, so that every sentence must name its class.
    """

    source: Path
    template: str
    classes: dict[str, list[str]]
    version: int = 1
    names: dict[str, list[str]] = field(default_factory=dict)
    keywords: dict[str, list[str]] = field(default_factory=dict)
    graded: bool = False

    def digest(self) -> str:
        """A short name of the content: two files with the same template and sentences have the same digest."""
        text = json.dumps([self.template, self.classes])
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def before(self) -> str:
        """The words of the template before the class name."""
        return self.template.partition("{}")[0].strip()

    @property
    def after(self) -> str:
        """What stands after the class name, with its leading space if there is one."""
        return self.template.partition("{}")[2]

    def __getitem__(self, classname: str) -> list[str]:
        if classname not in self.classes:
            raise InputError(
                f"prompt file '{self.source}' has no sentences for class '{classname}', only for "
                f"{shown(list(self.classes), 600)}; add them"
            )
        return self.classes[classname]

    def sentences(self, classnames: Sequence[str], count: int, setting: str = "N_PROMPTS") -> list[list[str]]:
        """Return the first `count` sentences of each class; `setting` is the key of `count`, for the message.

        Raises:
            InputError: a class has fewer sentences.
        """
        chosen = [self[name][:count] for name in classnames]
        for name, found in zip(classnames, chosen, strict=True):
            if len(found) < count:
                raise InputError(
                    f"prompt file '{self.source}': class '{name}' has {len(found)} sentences, {count} were asked for; "
                    f"add sentences, or set {setting} to {len(found)} or less"
                )
        return chosen


def available_prompts() -> list[str]:
    """Return the names of the data sets that have a prompt file."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def load_prompts(name: str, template: str = "") -> Prompts:
    """Read the prompts of a data set.

    Args:
        name: the name of a data set, such as "btmri", or of a .json file: a path, or the name of one in prompts/.
        template: a template that takes the place of the file's.

    Raises:
        InputError: the name is unknown, or the file cannot be read or does not hold a template and sentences.
    """
    path = Path(name) if name.endswith(".json") else FOLDER / f"{name}.json"
    if not os.path.isfile(path) and os.path.isfile(FOLDER / name):
        path = FOLDER / name
    if not os.path.isfile(path):
        if name.endswith(".json"):
            raise InputError(f"prompt file '{path}' does not exist; check DATASET.PROMPTS")
        raise unknown_name("prompt file (DATASET.PROMPTS)", name, available_prompts())
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=_without_repeated_keys)
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"prompt file '{path}' cannot be read as JSON: {error}") from error
    own, classes = _template_and_classes(content, path)
    return Prompts(path, template or own, classes, **_for_the_check(content, path, classes))


def _without_repeated_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {shown(repeated)} stands in it more than once")
    return found


def _template_and_classes(content: object, path: Path) -> tuple[str, dict[str, list[str]]]:
    if not isinstance(content, dict) or not {"template", "classes"} <= content.keys():
        raise InputError(f"prompt file '{path}' must be an object with the keys 'template' and 'classes'")
    template, classes = content["template"], content["classes"]
    problem = template_problem(template) if isinstance(template, str) else "be a text"
    if problem:
        raise InputError(f"prompt file '{path}': 'template' is {shown(template)}; it must {problem}")
    check_text(template, f"prompt file '{path}': 'template'")
    if not isinstance(classes, dict) or not classes:
        raise InputError(f"prompt file '{path}': 'classes' must map each class name to a list of sentences")
    for name, sentences in classes.items():
        if not isinstance(sentences, list) or not all(isinstance(s, str) and s.strip() for s in sentences):
            raise InputError(f"prompt file '{path}': class {shown(name)} must have a list of non-empty sentences")
        for text in (name, *sentences):
            check_text(text, f"prompt file '{path}': {shown(text)} of class {shown(name)}")
    return template, classes


def _for_the_check(content: dict, path: Path, classes: dict[str, list[str]]) -> dict[str, Any]:
    """The optional entries of a prompt file: its version, and what the check of sentences reads."""
    found: dict[str, Any] = {}
    for key, kind in (("version", int), ("graded", bool), ("names", dict), ("keywords", dict)):
        if key not in content:
            continue
        value = content[key]
        if type(value) is not kind or (key == "version" and value < 1):
            raise InputError(f"prompt file '{path}': '{key}' is {shown(value)}; it must be of type {kind.__name__}")
        found[key] = value
    for key in ("names", "keywords"):
        for name, words in found.get(key, {}).items():
            if name not in classes:
                raise unknown_name(f"class in '{key}' of prompt file '{path}'", name, classes)
            if not isinstance(words, list) or not all(isinstance(word, str) and word.strip() for word in words):
                raise InputError(f"prompt file '{path}': '{key}' of class {shown(name)} must be a list of words")
    return found
