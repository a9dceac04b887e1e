"""From the results of a measurement to the numbers of its report."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evidence.results import CURVES, MEASURES, NO_PROMPT, Column, Condition, MapName, Results
from evidence.statistics import Correlation, Effect, correlation, effects
from sweep.report.stats import Value, over_seeds

SEED = 0  # of the bootstrap
LEVEL = 0.05  # of significance
MAIN_MAP = "attention"
CLAIMS = ("replace", "insert")  # the conditions that the paper describes
ALL, OTHERS = "all patches", "other patches"
ACCURACY = "accuracy"


@dataclass(frozen=True)
class Change:
    """A measure under a condition against the same with no prompt, over the images that have both.

    Attributes:
        condition: name of the condition.
        map: the map that is measured, as text; the text of the classes for accuracy.
        measure: one of MEASURES or CURVES, or ACCURACY (0 to 1).
        patches: ALL, or OTHERS: those that the condition does not replace, also for no prompt.
        without: mean with no prompt; None where there is no image.
        with_prompt: mean under the condition, likewise.
        effect: mean difference with its interval, and p with Holm's correction over the conditions.
    """

    condition: str
    map: str
    measure: str
    patches: str
    without: float | None
    with_prompt: float | None
    effect: Effect

    @property
    def direction(self) -> int:
        """1: it rises, -1: it falls, 0: no change is shown; both the test and the interval must show it."""
        if not self.effect.images or self.effect.p_holm >= LEVEL:
            return 0
        return (self.effect.low > 0) - (self.effect.high < 0)


@dataclass(frozen=True)
class FewShot:
    """Accuracy in percent over seeds under a condition, and its difference to that with no prompt."""

    accuracy: Value
    difference: Value


@dataclass(frozen=True)
class Link:
    """Correlation over images of the changes of mass (on the other patches) and of the true class's probability."""

    condition: str
    map: str
    text: str
    found: Correlation | None


@dataclass(frozen=True)
class Summary:
    """The numbers of a report.

    Attributes:
        changes: by condition, map, measure and patches; curves have ALL only.
        explained: by condition and map, the part of the change of mass that comes from the replaced patches alone: with
            no prompt, the mass without these patches minus the mass with them.
        classes: changes of mass in the main map by condition, label and patches.
        accuracy: by condition and text, also of NO_PROMPT.
        zero_shot: changes of accuracy by condition and text.
        few_shot: by condition, where there is any.
        links: by condition, map and text.
    """

    changes: dict[tuple[str, str, str, str], Change]
    explained: dict[tuple[str, str], float | None]
    classes: dict[tuple[str, int, str], Change]
    accuracy: dict[tuple[str, str], float]
    zero_shot: dict[tuple[str, str], Change]
    few_shot: dict[str, FewShot]
    links: dict[tuple[str, str, str], Link]


def main_map(results: Results) -> str:
    """The map that headlines and pictures are about: the class token's attention where it was measured."""
    names = [str(name) for name in results.maps]
    return MAIN_MAP if MAIN_MAP in names else names[0]


def prompted(results: Results) -> list[Condition]:
    """The conditions that are compared with NO_PROMPT."""
    return [condition for condition in results.conditions if condition.name != NO_PROMPT]


def claims(results: Results) -> list[Condition]:
    """The conditions that headlines are about: those of the paper, or else the first one."""
    compared = prompted(results)
    return [condition for condition in compared if condition.name in CLAIMS] or compared[:1]


def replaces_patches(results: Results, condition: str) -> bool:
    """Whether a condition leaves out patches that NO_PROMPT has."""
    every = results.measures[NO_PROMPT][main_map(results)]["all"]
    return results.measures[condition][main_map(results)]["reference"] != every


def summarise(results: Results) -> Summary:
    """Compute the numbers of a report."""
    conditions = [condition.name for condition in prompted(results)]
    names = [str(name) for name in results.maps]
    changes = [change for name in names for change in _of_map(results, conditions, name)] + _of_curves(results, names)
    return Summary(
        {(change.condition, change.map, change.measure, change.patches): change for change in changes},
        {(condition, name): _explained(results, condition, name) for condition in conditions for name in names},
        _of_classes(results, conditions),
        _accuracy(results),
        _zero_shot(results, conditions),
        _few_shot(results, conditions),
        _links(results, conditions),
    )


# By condition: a column with no prompt, and the same under the condition.
Pairs = Mapping[str, tuple[Sequence[float | None], Sequence[float | None]]]


def _compared(name: str, measure: str, patches: str, pairs: Pairs) -> list[Change]:
    both = {condition: _paired(*columns) for condition, columns in pairs.items()}
    found = effects({condition: [b - a for a, b in values] for condition, values in both.items()}, SEED)
    means = {
        condition: (_mean([a for a, _ in values]), _mean([b for _, b in values])) for condition, values in both.items()
    }
    return [Change(condition, name, measure, patches, *means[condition], found[condition]) for condition in pairs]


def _paired(first: Sequence[float | None], second: Sequence[float | None]) -> list[tuple[float, float]]:
    return [(a, b) for a, b in zip(first, second, strict=True) if a is not None and b is not None]


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def _columns(results: Results, condition: str, name: str, measure: str, patches: str) -> tuple[Column, Column]:
    """A measure of a map with no prompt and under a condition."""
    own = results.measures[condition][name]
    if patches == OTHERS:
        return own["reference"][measure], own["kept"][measure]
    return results.measures[NO_PROMPT][name]["all"][measure], own["all"][measure]


def _of_map(results: Results, conditions: Sequence[str], name: str) -> list[Change]:
    found = []
    for measure in MEASURES:
        for patches in (ALL, OTHERS):
            pairs = {condition: _columns(results, condition, name, measure, patches) for condition in conditions}
            found += _compared(name, measure, patches, pairs)
    return found


def _of_curves(results: Results, names: Sequence[str]) -> list[Change]:
    found, having = [], {c: of_maps for c, of_maps in results.curves.items() if c != NO_PROMPT}
    for name in names:
        if without := results.curves.get(NO_PROMPT, {}).get(name):
            under = {condition: of_maps[name] for condition, of_maps in having.items() if name in of_maps}
            for curve in CURVES if under else ():
                found += _compared(name, curve, ALL, {c: (without[curve], own[curve]) for c, own in under.items()})
    return found


def _explained(results: Results, condition: str, name: str) -> float | None:
    reference = results.measures[condition][name]["reference"]["mass"]
    pairs = _paired(results.measures[NO_PROMPT][name]["all"]["mass"], reference)
    return _mean([b - a for a, b in pairs])


def _of_classes(results: Results, conditions: Sequence[str]) -> dict[tuple[str, int, str], Change]:
    name = main_map(results)
    found: dict[tuple[str, int, str], Change] = {}
    for label in range(len(results.classnames)):
        chosen = [index for index, image in enumerate(results.images) if image.label == label]
        for patches in (ALL, OTHERS):
            pairs = {}
            for condition in conditions:
                before, after = _columns(results, condition, name, "mass", patches)
                pairs[condition] = ([before[k] for k in chosen], [after[k] for k in chosen])
            found |= {(c.condition, label, patches): c for c in _compared(name, "mass", patches, pairs)}
    return found


def _right(results: Results, condition: str, text: str) -> list[float]:
    predicted = results.outcomes[condition].predicted[text]
    return [float(label == image.label) for label, image in zip(predicted, results.images, strict=True)]


def _accuracy(results: Results) -> dict[tuple[str, str], float]:
    return {
        (name, text): 100 * math.fsum(_right(results, name, text)) / len(results.images)
        for name, outcome in results.outcomes.items()
        for text in outcome.predicted
    }


def _zero_shot(results: Results, conditions: Sequence[str]) -> dict[tuple[str, str], Change]:
    found = []
    for text in results.outcomes[NO_PROMPT].predicted:
        without = _right(results, NO_PROMPT, text)
        pairs = {condition: (without, _right(results, condition, text)) for condition in conditions}
        found += _compared(text, ACCURACY, ALL, pairs)
    return {(change.condition, change.map): change for change in found}


def _few_shot(results: Results, conditions: Sequence[str]) -> dict[str, FewShot]:
    without = results.outcomes[NO_PROMPT].few_shot
    found = {NO_PROMPT: FewShot(over_seeds(without), Value())} if without else {}
    for condition in conditions:
        values = results.outcomes[condition].few_shot
        # The same seeds on both sides, in the same order.
        paired = [b - a for a, b in zip(without, values, strict=False)] if len(without) == len(values) else []
        if values:
            found[condition] = FewShot(over_seeds(values), over_seeds(paired))
    return found


def _links(results: Results, conditions: Sequence[str]) -> dict[tuple[str, str, str], Link]:
    without = results.outcomes[NO_PROMPT].probability
    return {
        (condition, str(name), text): _link(results, condition, name, text)
        for condition in conditions
        for name in results.maps
        for text in without
        if name.text == text or name.text not in without
    }


def _link(results: Results, condition: str, name: MapName, text: str) -> Link:
    mass = _columns(results, condition, str(name), "mass", OTHERS)
    probability = (results.outcomes[c].probability[text] for c in (NO_PROMPT, condition))
    return Link(condition, str(name), text, correlation(_differences(*mass), _differences(*probability)))


def _differences(before: Sequence[float | None], after: Sequence[float | None]) -> Column:
    return [None if a is None or b is None else b - a for a, b in zip(before, after, strict=True)]
