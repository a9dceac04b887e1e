"""Reads prompts/<dataset>.json and says clearly what is wrong with a file that does not hold what it should."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dassl.errors import InputError, unknown_name

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Prompts:
    """The text knowledge of one data set.

    Attributes:
        source: the file it was read from.
        template: a sentence with one {} for the class name.
        classes: class name -> sentences that say how the class looks.
    """

    source: Path
    template: str
    classes: dict[str, list[str]]

    def digest(self) -> str:
        """A short name of the content: two files with the same template and sentences have the same digest."""
        text = json.dumps([self.template, self.classes])
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def __getitem__(self, classname: str) -> list[str]:
        if classname not in self.classes:
            raise InputError(f"{self.source} has no sentences for class '{classname}'; it has {list(self.classes)}")
        return self.classes[classname]

    def sentences(self, classnames: Sequence[str], count: int) -> list[list[str]]:
        """The first `count` sentences of each class; fewer on file is an error."""
        chosen = [self[name][:count] for name in classnames]
        for name, found in zip(classnames, chosen, strict=True):
            if len(found) < count:
                raise InputError(f"{self.source}: class '{name}' has {len(found)} sentences, {count} were asked for")
        return chosen


def available_prompts() -> list[str]:
    """Names of the data sets that have a prompt file."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def load_prompts(name: str) -> Prompts:
    """Read the prompts of a data set.

    Args:
        name: a data set's name ("btmri"), or the path of a .json file of one's own.

    Raises:
        InputError: unknown name, unreadable file, or a file that does not hold a template and sentences.
    """
    path = Path(name) if name.endswith(".json") else FOLDER / f"{name}.json"
    if not path.is_file():
        if name.endswith(".json"):
            raise InputError(f"prompt file '{path}' does not exist")
        raise unknown_name("prompt file", name, available_prompts())
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"prompt file '{path}' cannot be read as JSON: {error}") from error
    return Prompts(path, *_checked(content, path))


def _checked(content: object, path: Path) -> tuple[str, dict[str, list[str]]]:
    if not isinstance(content, dict) or not {"template", "classes"} <= content.keys():
        raise InputError(f"prompt file '{path}' must be an object with the keys 'template' and 'classes'")
    template, classes = content["template"], content["classes"]
    if not isinstance(template, str) or template.count("{}") != 1:
        raise InputError(f"prompt file '{path}': 'template' must be a text with exactly one {{}}, not {template!r}")
    if not isinstance(classes, dict) or not classes:
        raise InputError(f"prompt file '{path}': 'classes' must map each class name to a list of sentences")
    for name, sentences in classes.items():
        if not isinstance(sentences, list) or not all(isinstance(s, str) and s.strip() for s in sentences):
            raise InputError(f"prompt file '{path}': class '{name}' must have a list of non-empty sentences")
    return template, classes
