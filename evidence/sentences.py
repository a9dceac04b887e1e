"""The main numbers of a report in sentences."""

import math

from evidence.results import CURVES, NO_PROMPT, Condition, Results
from evidence.summary import (
    ALL,
    MAIN_MAP,
    OTHERS,
    Change,
    Summary,
    claims,
    main_map,
    prompted,
    replaces_patches,
)
from sweep.report.stats import Value
from sweep.report.tables import DASH, p_text

PERCENT, PLAIN = 100.0, 1.0
# All other measures are shares, given in percent, and their changes in points.
SCALES = {"enrichment": PLAIN, **dict.fromkeys(CURVES, PLAIN)}
VERBS = {1: "rises", -1: "falls"}
UNCHANGED = "shows no change beyond chance"


def headlines(results: Results, summary: Summary) -> list[str]:
    """A paragraph about each condition that the paper describes, then about what goes with the attention."""
    if not results.with_lesion():
        return ["No image has a lesion, so that no share of the attention inside lesions can be measured."]
    about = [_about_claim(results, summary, condition) for condition in claims(results)]
    return [*about, *(text for condition in claims(results) for text in _about_classes(summary, condition.name))]


def scale(measure: str) -> float:
    """What the values of a measure are multiplied with where they are shown."""
    return SCALES.get(measure, PERCENT)


def signed(change: Change) -> str:
    """The mean difference with its sign."""
    return f"{_rounded(change, change.effect.mean):+.2f}"


def bounds(change: Change) -> str:
    """The interval of the mean difference; a dash for a single image."""
    if math.isnan(change.effect.low):
        return DASH
    return f"{_rounded(change, change.effect.low):+.2f} to {_rounded(change, change.effect.high):+.2f}"


def _rounded(change: Change, value: float) -> float:
    return round(scale(change.measure) * value, 2) + 0.0  # which makes +0.00 of -0.00


def p_value(change: Change) -> str:
    """ "p = 0.012" or "p < 0.001"."""
    return f"p {_equals(change.effect.p_holm)}"


def _equals(p: float) -> str:
    text = p_text(p)
    return text if text.startswith("<") else f"= {text}"


def _about_claim(results: Results, summary: Summary, condition: Condition) -> str:
    name = main_map(results)
    change, others = (summary.changes[condition.name, name, "mass", patches] for patches in (ALL, OTHERS))
    what = "the share of the class token's attention" if name == MAIN_MAP else f"the share of the map {name}"
    parts = [f"{_named(condition)}: {what} inside lesions {_happens(change)}."]
    if replaces_patches(results, condition.name):
        explained = summary.explained[condition.name, name]
        if explained is not None and others.effect.images:
            parts.append(
                f"The replaced patches explain {100 * explained:+.2f} points of this, because the map leaves them out. "
                f"Among the other patches, the share {_happens(others)}."
            )
    parts += _beside_controls(results, summary, condition, name)
    parts += _other_maps(results, summary, condition, name)
    return " ".join(parts)


def _named(condition: Condition) -> str:
    return f"{condition.name} ({condition.about.rstrip('.')})"


def _happens(change: Change) -> str:
    """What a share does, with interval, p and number of images."""
    effect = change.effect
    if not effect.images or change.without is None or change.with_prompt is None:
        return "cannot be compared, because no image has both values"
    ends = f"from {100 * change.without:.2f} % to {100 * change.with_prompt:.2f} %"
    if change.direction:
        what = f"{VERBS[change.direction]} by {abs(100 * effect.mean):.2f} points, {ends}"
    else:
        what = f"{UNCHANGED}: {signed(change)} points, {ends}"
    return f"{what} (95 % interval of the change {bounds(change)}; {p_value(change)}; {_images(effect.images)})"


def _beside_controls(results: Results, summary: Summary, condition: Condition, name: str) -> list[str]:
    """The change among the other patches, which is where conditions that replace different patches are comparable."""
    own = summary.changes[condition.name, name, "mass", OTHERS]
    found = [summary.changes[c.name, name, "mass", OTHERS] for c in prompted(results) if c.control]
    found = sorted((change for change in found if change.effect.images), key=lambda change: change.effect.mean)
    if not found or not own.effect.images:
        return []
    low, high = found[0], found[-1]
    place = "within the range of the controls"
    if own.effect.mean > high.effect.mean:
        place = "above all controls"
    elif own.effect.mean < low.effect.mean:
        place = "below all controls"
    if len(found) == 1:
        return [
            f"Under the control {low.condition}, the share among the patches it leaves changes by {signed(low)} points."
        ]
    ends = f"{signed(low)} ({low.condition}) to {signed(high)} points ({high.condition})"
    about = f"Under the {len(found)} controls, the share among the patches they leave changes by {ends}"
    return [f"{about}; {condition.name} is {place}."]


def _other_maps(results: Results, summary: Summary, condition: Condition, name: str) -> list[str]:
    others = [str(other) for other in results.maps if str(other) != name]
    ways = [summary.changes[condition.name, other, "mass", OTHERS].direction for other in others]
    if not others:
        return []
    if len(others) == 1:
        return [f"In the map {others[0]}, the share {VERBS.get(ways[0], UNCHANGED)}."]
    counts = f"rises in {ways.count(1)}, falls in {ways.count(-1)} and {UNCHANGED} in {ways.count(0)}"
    return [f"Of the {len(others)} other maps, the share {counts}."]


def _about_classes(summary: Summary, condition: str) -> list[str]:
    """Accuracy without and with a condition, and the correlation of its change with that of the share."""
    found = []
    for (name, text), change in summary.zero_shot.items():
        if name != condition:
            continue
        ends = f"{summary.accuracy[NO_PROMPT, text]:.2f} % with no prompt and {summary.accuracy[name, text]:.2f} %"
        about = f"{signed(change)} points; 95 % interval {bounds(change)}; {p_value(change)}"
        sentence = f"Accuracy with the text {text} is {ends} with {name} ({about}; {_images(change.effect.images)})."
        link = summary.links.get((name, MAIN_MAP, text))
        if link and link.found:
            rank = f"{link.found.rho:.2f} (p {_equals(link.found.p)}; {_images(link.found.images)})"
            sentence += (
                " Over the images with a lesion, the change of the share among the other patches and the change of the "
                f"true class's probability have Spearman's correlation {rank}."
            )
        found.append(sentence)
    few_shot = summary.few_shot
    if NO_PROMPT in few_shot and condition in few_shot:
        none, own = few_shot[NO_PROMPT].accuracy, few_shot[condition]
        ends = f"{shown(none)} % with no prompt and {shown(own.accuracy)} % with {condition}"
        about = "" if own.difference.mean is None else f" (difference {shown(own.difference, sign=True)} points)"
        found.append(f"Few-shot accuracy over seeds is {ends}{about}.")
    return found


def shown(value: Value, sign: bool = False) -> str:
    """A mean over seeds with half of its 95 % interval."""
    if value.mean is None:
        return DASH
    return f"{value.mean:{'+' if sign else ''}.2f}" + (f" ± {value.half:.2f}" if value.half is not None else "")


def _images(count: int) -> str:
    return f"{count} image{'s' * (count != 1)}"
