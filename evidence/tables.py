"""The content of a report, from which every format is written: sentences, facts and tables."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from evidence.results import CURVES, MEASURES, NO_PROMPT, Results
from evidence.sentences import bounds, headlines, p_value, scale, shown, signed
from evidence.statistics import Correlation
from evidence.summary import ALL, OTHERS, Change, FewShot, Summary, main_map, prompted
from sweep.report.stats import Value
from sweep.report.tables import DASH, Cell, Table, mean_cell, p_text

TITLE = "Attention to lesions with and without a visual prompt"
LABELS = {
    "mass": "share inside lesions, %",
    "enrichment": "enrichment",
    "pointing": "pointing game, %",
    "iou": "IoU at equal area, %",
    "auroc": "AUROC of patches, %",
}
NOTES = (
    "A change is the mean over images of the difference to no prompt on the same image, with the 95 % bootstrap "
    "interval over images. p is of Wilcoxon's signed-rank test on these differences, two-sided, with Holm's correction "
    "over the conditions of a column. A change is marked, and called a rise or a fall, where p < 0.05 and the interval "
    "leaves out 0. p says nothing about the size of a change.",
    "Share inside lesions: the part of a map's sum that lies on the lesion. Enrichment: this share divided by the "
    "lesion's share of the area; 1 is what a map without any relation to lesions has. Pointing game: images whose "
    "largest value is inside a lesion. IoU: overlap of the lesion with equally many of the highest patches. AUROC: how "
    "well the map ranks patches of the lesion above the others; 50 % is chance.",
    "A patch that a token replaces is not seen any more and has the value 0, which changes the share inside lesions by "
    "itself. “Explained by the replaced patches” is this part: with no prompt, the share without these patches "
    "minus the share with them. “Other patches” leaves the same patches out on both sides, and shows what the "
    "prompt does to the rest.",
    "A map shows what the tower attends to or what a score is sensitive to. It proves no cause, and attention inside a "
    "lesion is no evidence of a right diagnosis. Maps of different explainers can disagree about the same image.",
    "Masks are scaled to the grid of patches, so that small lesions cover a few patches only. Images without a lesion "
    "count for the accuracy alone.",
)  # fmt: skip


@dataclass
class Report:
    """What every format shows.

    Attributes:
        title: of the report.
        sentences: the main numbers, a paragraph each.
        facts: name and value.
        conditions: name and description.
        tables: the first is the main one.
        notes: method and limits, a paragraph each.
    """

    title: str
    sentences: list[str]
    facts: list[tuple[str, str]]
    conditions: list[tuple[str, str]]
    tables: list[Table]
    notes: list[str]


def build_report(results: Results, summary: Summary) -> Report:
    """The report of a measurement."""
    return Report(
        TITLE,
        headlines(results, summary),
        _facts(results),
        [(c.name, c.about + (" (control)" if c.control else "")) for c in results.conditions],
        [table for table in _tables(results, summary) if table.rows and table.columns],
        list(NOTES),
    )


def _facts(results: Results) -> list[tuple[str, str]]:
    rows, columns = results.grid
    lesions = len(results.with_lesion())
    counted = [("images", f"{len(results.images)}, {lesions} with a lesion"), ("patches", f"{rows} × {columns}")]
    about = {str(name): str(value) for name, value in results.about.items()}
    return [*about.items(), *(fact for fact in counted if fact[0] not in about)]


def _tables(results: Results, summary: Summary) -> list[Table]:
    names = [str(name) for name in results.maps]
    conditions = [condition.name for condition in prompted(results)]
    return [
        _of_mass(summary, conditions, main_map(results)),
        _accuracy(results, summary),
        _over_maps(summary, conditions, names),
        *(_of_classes(results, summary, conditions, patches) for patches in (ALL, OTHERS)),
        *(_of_measures(summary, conditions, name, patches) for name in names for patches in (ALL, OTHERS)),
        _links(results, summary, conditions),
        *(_of_curves(summary, conditions, name) for name in names),
    ]


def _of_mass(summary: Summary, conditions: Sequence[str], name: str) -> Table:
    columns = [
        "no prompt, %",
        "with it, %",
        "change, points",
        "95 % interval",
        "p",
        "explained by the replaced patches",
    ]
    columns += ["change, other patches", "95 % interval, other patches", "p, other patches", "images"]
    rows = []
    for condition in conditions:
        change, others = (summary.changes[condition, name, "mass", patches] for patches in (ALL, OTHERS))
        explained = summary.explained[condition, name]
        cells = [_mean(change.without, 100), _mean(change.with_prompt, 100), *_change_cells(change)]
        cells.append(Cell(DASH) if explained is None else Cell(f"{100 * explained:+.2f}", 100 * explained))
        rows.append(
            (condition, [*cells, *_change_cells(others), Cell(str(change.effect.images), change.effect.images)])
        )
    title = f"Share inside lesions: {name}"
    return Table("mass", title, columns, rows, rows_of="condition")


def _mean(value: float | None, factor: float) -> Cell:
    return Cell(DASH) if value is None else Cell(f"{factor * value:.2f}", factor * value)


def _change_cells(change: Change) -> list[Cell]:
    """Difference, interval and p."""
    if not change.effect.images:
        return [Cell(DASH), Cell(DASH), Cell(DASH)]
    effect, factor = change.effect, scale(change.measure)
    difference = Cell(signed(change), factor * effect.mean, marked=change.direction != 0)
    return [difference, Cell(bounds(change), _number(factor * effect.low)), Cell(p_text(effect.p_holm), effect.p_holm)]


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


def _short(change: Change | None, more: str = "") -> Cell:
    """The difference with its interval in one cell."""
    if change is None or not change.effect.images:
        return Cell(DASH)
    text = f"{signed(change)} ({bounds(change)}{more})"
    return Cell(text, scale(change.measure) * change.effect.mean, marked=change.direction != 0)


def _over_maps(summary: Summary, conditions: Sequence[str], names: Sequence[str]) -> Table:
    rows = [(c, [_short(summary.changes[c, name, "mass", OTHERS]) for name in names]) for c in conditions]
    notes = ["Change of the share inside lesions in points, with its 95 % interval."]
    return Table("maps", "Every map: change of the share, other patches", list(names), rows, notes, rows_of="condition")


def _of_measures(summary: Summary, conditions: Sequence[str], name: str, patches: str) -> Table:
    columns = [text for measure in MEASURES for text in (LABELS[measure], "change")]
    rows = []
    if patches == ALL:
        means = [summary.changes[conditions[0], name, measure, ALL] for measure in MEASURES] if conditions else []
        cells = [cell for change in means for cell in (_mean(change.without, scale(change.measure)), Cell(DASH))]
        rows.append((NO_PROMPT, cells))
    for condition in conditions:
        found = [summary.changes[condition, name, measure, patches] for measure in MEASURES]
        cells = [cell for c in found for cell in (_mean(c.with_prompt, scale(c.measure)), _short(c))]
        rows.append((condition, cells))
    key = f"measures_{name}_{patches}"
    return Table(key, f"All measures: {name}, {patches}", columns, rows, detail=True, rows_of="condition")


def _of_classes(results: Results, summary: Summary, conditions: Sequence[str], patches: str) -> Table:
    labels = range(len(results.classnames))
    found = {(c, label): summary.classes[c, label, patches] for c in conditions for label in labels}
    shown_labels = [label for label in labels if any(found[c, label].effect.images for c in conditions)]
    rows = [(c, [_short(found[c, label]) for label in shown_labels]) for c in conditions]
    counts = {label: max(found[c, label].effect.images for c in conditions) for label in shown_labels}
    columns = [f"{results.classnames[label]} ({counts[label]})" for label in shown_labels]
    title = f"Each class: change of the share inside lesions, {main_map(results)}, {patches}"
    notes = ["In points, with the 95 % interval; behind the class the number of images with a lesion."]
    return Table(f"classes_{patches}", title, columns, rows, notes, detail=patches == ALL, rows_of="condition")


def _accuracy(results: Results, summary: Summary) -> Table:
    texts = list(results.outcomes[NO_PROMPT].predicted)
    columns = [label for text in texts for label in (f"text {text}", f"change, {text}")]
    columns += ["few-shot", "change, few-shot"] if summary.few_shot else []
    rows = []
    for condition in results.conditions:
        cells = []
        for text in texts:
            accuracy, change = summary.accuracy[condition.name, text], summary.zero_shot.get((condition.name, text))
            more = f"; {p_value(change)}" if change and change.effect.images else ""
            cells += [Cell(f"{accuracy:.2f}", accuracy), _short(change, more)]
        if summary.few_shot:
            found = summary.few_shot.get(condition.name, FewShot(Value(), Value()))
            cells += [mean_cell(found.accuracy), Cell(shown(found.difference, sign=True), found.difference.mean)]
        rows.append((condition.name, cells))
    notes = [
        "In percent, over all images; changes in points, with the 95 % interval. Few-shot: nearest class means, mean ± "
        "half of the 95 % interval over seeds (Student's t), and that of the difference per seed."
    ]
    return Table("accuracy", "Accuracy", columns, rows, notes, rows_of="condition")


def _links(results: Results, summary: Summary, conditions: Sequence[str]) -> Table:
    texts = list(results.outcomes[NO_PROMPT].probability)
    pairs = [(name, text) for name in results.maps for text in ([name.text] if name.text in texts else texts)]
    rows = []
    for condition in conditions:
        links = [summary.links[condition, str(name), text].found for name, text in pairs]
        rows.append((condition, [_correlation(found) for found in links]))
    columns = [str(name) if name.text else f"{name}; {text}" for name, text in pairs]
    notes = [
        "Spearman's correlation and its p over images, between the change of the share inside lesions (other patches) "
        "and the change of the true class's probability; behind the map the text that gives the probability."
    ]
    title = "Attention and probability"
    return Table("links", title, columns, rows, notes, detail=True, rows_of="condition")


def _correlation(found: Correlation | None) -> Cell:
    return Cell(DASH) if found is None else Cell(f"{found.rho:+.2f} (p {p_text(found.p)})", found.rho)


def _of_curves(summary: Summary, conditions: Sequence[str], name: str) -> Table:
    found = {c: [summary.changes.get((c, name, curve, ALL)) for curve in CURVES] for c in conditions}
    having = {c: changes for c, changes in found.items() if None not in changes}
    rows = []
    for condition, changes in having.items():
        cells = [
            cell
            for c in changes
            if c is not None
            for cell in (_mean(c.without, 1), _mean(c.with_prompt, 1), _short(c, f"; {p_value(c)}"))
        ]
        rows.append((condition, cells))
    columns = [f"{curve}, {what}" for curve in CURVES for what in ("no prompt", "with it", "change")]
    notes = ["Area under the curve. A map is faithful where insertion is high and deletion is low."]
    return Table(f"curves_{name}", f"Insertion and deletion: {name}", columns, rows, notes, rows_of="condition")
