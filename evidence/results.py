"""What was measured: every image under every condition, in one file that is checked where it is read."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dassl.errors import InputError, first_line, shown
from dassl.utils import atomic_path

FILE = "results.json"
PICTURES, MAPS_FILE = "pictures", "maps.safetensors"  # beside it, for the gallery
VERSION = 1
DIGITS = 6
NO_PROMPT = "none"  # the condition that all others are compared with
MEASURES = ("mass", "enrichment", "pointing", "iou", "auroc")
CURVES = ("insertion", "deletion")
# Of a condition: with all patches, and with those that it leaves; the last is the same of NO_PROMPT.
SCOPES = ("all", "kept", "reference")
Column = list[float | None]  # one number per image, None for an image without a lesion


@dataclass(frozen=True)
class Condition:
    """What is done to the tokens of the image tower.

    Attributes:
        name: as on the command line.
        about: one sentence for readers.
        control: it is there to be compared with, and is no form of the method.
    """

    name: str
    about: str
    control: bool = False


@dataclass(frozen=True)
class MapName:
    """What a map shows.

    Attributes:
        explainer: "attention" (of the class token in the last block, mean over heads), "rollout",
            "gradient-attention" or "grad-eclip".
        target: the class whose score is explained, "true" or "predicted"; "" for maps that do not depend on it.
        text: whose text features give the score; "" likewise.
    """

    explainer: str
    target: str = ""
    text: str = ""

    def __str__(self) -> str:
        return " ".join(filter(None, [self.explainer, self.target and f"of the {self.target} class,", self.text]))


@dataclass(frozen=True)
class Image:
    """An image: its path below the data root, its label, and the share of the tower's input that is lesion."""

    path: str
    label: int
    area: float


@dataclass
class Outcome:
    """How a condition classifies.

    Attributes:
        predicted: of each text the predicted label of each image.
        probability: of each text the probability of the true class of each image, 0 to 1.
        few_shot: accuracy in percent on the test part after few-shot training, one number per seed.
    """

    predicted: dict[str, list[int]] = field(default_factory=dict)
    probability: dict[str, list[float]] = field(default_factory=dict)
    few_shot: list[float] = field(default_factory=list)


@dataclass
class Results:
    """All numbers of one measurement. Lists have one entry per image, in the order of `images`.

    Attributes:
        about: facts such as data set, backbone and seed, by name, for readers.
        classnames: names of the classes, in label order.
        grid: rows and columns of patches.
        conditions: what was compared; the first is NO_PROMPT.
        maps: what was measured of each condition.
        images: all images, also those without a lesion.
        measures: condition name → map (as text) → scope → measure → column. Scope "all" takes all patches; a patch that
            a prompt replaces has the value 0. Scope "kept" leaves out the patches that this condition replaces, and
            "reference" is NO_PROMPT with the same patches left out. NO_PROMPT has the scope "all" only.
        curves: condition name → map → "insertion" or "deletion" → column; empty where no curves were asked for.
        heads: condition name → enrichment (layers, heads) of the class token's attention over the patches that the
            condition leaves, mean over images.
        reference_heads: condition name → that of NO_PROMPT over the same patches.
        outcomes: condition name → how it classifies.
        pictures: index of the image → name of its files in the folder pictures/, for a few images per class.
    """

    about: dict[str, Any]
    classnames: list[str]
    grid: tuple[int, int]
    conditions: list[Condition]
    maps: list[MapName]
    images: list[Image]
    measures: dict[str, dict[str, dict[str, dict[str, Column]]]]
    curves: dict[str, dict[str, dict[str, Column]]]
    heads: dict[str, list[list[float]]]
    reference_heads: dict[str, list[list[float]]]
    outcomes: dict[str, Outcome]
    pictures: dict[int, str] = field(default_factory=dict)

    def with_lesion(self) -> list[int]:
        """The indices of the images that have a lesion."""
        return [index for index, image in enumerate(self.images) if image.area > 0]

    def write(self, folder: Path) -> None:
        """Write results.json into a folder, atomically."""
        content = {"version": VERSION, **_rounded(asdict(self))}
        with atomic_path(folder / FILE) as temporary:
            temporary.write_text(json.dumps(content, allow_nan=False), encoding="utf-8")


def _rounded(value: Any) -> Any:
    """A JSON value whose numbers have DIGITS significant digits, which makes the file half as large."""
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, dict):
        return {key: _rounded(of) for key, of in value.items()}
    return [_rounded(of) for of in value] if isinstance(value, list | tuple) else value


def read_results(folder: Path) -> Results:
    """Read and check results.json of a folder.

    Raises:
        InputError: it cannot be read, or does not hold what `Results.write` writes.
    """
    path = folder / FILE
    try:
        content = json.loads(path.read_bytes())
        return _parsed(content)
    except OSError as error:
        raise InputError(f"'{path}' cannot be read: {error.strerror}") from error
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError) as error:
        raise InputError(f"'{path}' cannot be used ({first_line(error)}); measure again into another folder") from error


def _parsed(content: Mapping[str, Any]) -> Results:
    if content["version"] != VERSION:
        raise ValueError(f"it has version {shown(content['version'])}, and this program reads {VERSION}")
    rows, columns = content["grid"]
    results = Results(
        about=dict(content["about"]),
        classnames=[_text(name) for name in content["classnames"]],
        grid=(int(rows), int(columns)),
        conditions=[Condition(_text(c["name"]), _text(c["about"]), bool(c["control"])) for c in content["conditions"]],
        maps=[MapName(_text(m["explainer"]), _text(m["target"]), _text(m["text"])) for m in content["maps"]],
        images=[Image(_text(i["path"]), int(i["label"]), _number(i["area"])) for i in content["images"]],
        measures=content["measures"],
        curves=content["curves"],
        heads=content["heads"],
        reference_heads=content["reference_heads"],
        outcomes={name: Outcome(**outcome) for name, outcome in content["outcomes"].items()},
        pictures={int(index): _file(name) for index, name in content["pictures"].items()},
    )
    _check(results)
    return results


def _check(results: Results) -> None:
    names, count = [condition.name for condition in results.conditions], len(results.images)
    if not names or names[0] != NO_PROMPT or len({*names}) < len(names):
        raise ValueError(f"its conditions must start with '{NO_PROMPT}' and be different")
    if not all(0 <= image.label < len(results.classnames) for image in results.images):
        raise ValueError("a label is no class")
    for part in (results.measures, results.heads, results.reference_heads, results.outcomes):
        if list(part) != names:
            raise ValueError("its conditions and its numbers do not agree")
    maps = [str(name) for name in results.maps]
    if not maps or len({*maps}) < len(maps):
        raise ValueError("its maps must be different, and one at least")
    for condition, of_maps in results.measures.items():
        scopes = SCOPES[:1] if condition == NO_PROMPT else SCOPES
        for name in maps:
            for scope in scopes:
                for measure in MEASURES:
                    _check_column(of_maps[name][scope][measure], count)
    for condition_curves in results.curves.values():
        for of_map in condition_curves.values():
            for curve in CURVES:
                _check_column(of_map[curve], count)
    for rows in (*results.heads.values(), *results.reference_heads.values()):
        for row in rows:
            _check_column(row, len(rows[0]))
    texts = [*results.outcomes[NO_PROMPT].predicted]
    for outcome in results.outcomes.values():
        if [*outcome.predicted] != texts or [*outcome.probability] != texts:
            raise ValueError("its conditions do not have the same texts")
        for found in (outcome.predicted, outcome.probability):
            for column in found.values():
                _check_column(column, count)
        _check_column(outcome.few_shot, len(outcome.few_shot))
    if not all(0 <= index < count for index in results.pictures):
        raise ValueError("a picture belongs to no image")


def _check_column(column: Sequence[Any], count: int) -> None:
    if not isinstance(column, list) or len(column) != count:
        raise ValueError(f"a list of numbers does not have {count} entries")
    for value in column:
        if value is not None:
            _number(value)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{shown(value)} is no number")
    return float(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{shown(value)} is no text")
    return value


def _file(value: Any) -> str:
    if not _text(value).isalnum():
        raise ValueError(f"{shown(value)} is no name of a picture")
    return value
