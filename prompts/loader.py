"""Read and check the prompt files, prompts/<dataset>.json."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dassl.errors import InputError, unknown_name

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Prompts:
    """The template and the sentences of one data set.

    Attributes:
        source: the file they were read from.
        template: a sentence with one {} for the class name.
        classes: class name -> sentences that describe the appearance of the class.
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
            raise InputError(
                f"prompt file '{self.source}' has no sentences for class '{classname}', only for {list(self.classes)}; "
                "add them"
            )
        return self.classes[classname]

    def sentences(self, classnames: Sequence[str], count: int) -> list[list[str]]:
        """Return the first `count` sentences of each class.

        Raises:
            InputError: a class has fewer sentences.
        """
        chosen = [self[name][:count] for name in classnames]
        for name, found in zip(classnames, chosen, strict=True):
            if len(found) < count:
                raise InputError(
                    f"prompt file '{self.source}': class '{name}' has {len(found)} sentences, {count} were asked for; "
                    "add sentences, or set N_PROMPTS to a smaller number"
                )
        return chosen


def available_prompts() -> list[str]:
    """Return the names of the data sets that have a prompt file."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def load_prompts(name: str) -> Prompts:
    """Read the prompts of a data set.

    Args:
        name: the name of a data set, such as "btmri", or the path of a .json file.

    Raises:
        InputError: the name is unknown, or the file cannot be read or does not hold a template and sentences.
    """
    path = Path(name) if name.endswith(".json") else FOLDER / f"{name}.json"
    if not path.is_file():
        if name.endswith(".json"):
            raise InputError(f"prompt file '{path}' does not exist; check the path")
        raise unknown_name("prompt file", name, available_prompts())
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"prompt file '{path}' cannot be read as JSON: {error}") from error
    template, classes = _template_and_classes(content, path)
    return Prompts(path, template, classes)


def _template_and_classes(content: object, path: Path) -> tuple[str, dict[str, list[str]]]:
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
