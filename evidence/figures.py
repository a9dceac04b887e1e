"""Draws the numbers of a report with matplotlib: each figure as a picture (PNG) and for papers (PDF)."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dassl.utils import atomic_path
from evidence.results import NO_PROMPT, Column, Condition, Results
from evidence.sentences import scale
from evidence.summary import ALL, OTHERS, Change, Summary, claims, main_map, prompted
from sweep.report.escape import one_line
from sweep.report.figures import COLOURS, MARKERS, PNG, SETTINGS

FOLDER = "figures"
DPI = 130
CLAIM, FORM, CONTROL, SOFT = "#D55E00", "#0072B2", "#6B6B6B", "#9A9A9A"
OWN = {"font.size": 8, "axes.titlesize": 8.5, "axes.labelsize": 8, "xtick.major.size": 2.5, "ytick.major.size": 0}
ROW = 0.2  # inches per condition
FOREST = (
    ("mass", "share inside lesions,\npoints"),
    ("enrichment", "enrichment"),
    ("pointing", "pointing game,\npoints"),
    ("auroc", "AUROC of patches,\npoints"),
)
LARGE = 400_000  # bytes of a PNG file
# Without the date, so that the same results give the same file.
FORMATS: dict[str, dict[str, Any]] = {"png": PNG, "pdf": {"format": "pdf", "metadata": {"CreationDate": None}}}
MOST_TEXTS = 3  # panels of accuracy with a text


@dataclass(frozen=True)
class Figure:
    """A figure of the report: its file's name without ending, its title, and what it shows in words."""

    name: str
    title: str
    about: str


def draw_figures(results: Results, summary: Summary, folder: Path) -> list[Figure]:
    """Draw all figures that the results have numbers for into a folder, and list them."""
    drawn = []
    for figure, draw in (
        (FOREST_FIGURE, _forest), (DISTRIBUTIONS, _distributions), (HEADS, _heads), (ACCURACIES, draw_accuracies)
    ):  # fmt: skip
        if save(lambda draw=draw: draw(results, summary), folder, figure.name):
            drawn.append(figure)
    return drawn


FOREST_FIGURE = Figure(
    "changes",
    "Changes under every condition",
    "Mean difference to no prompt with its 95 % interval. Filled: the patches that the condition does not replace. "
    "Hollow: all patches, with the part that the replaced patches explain. Orange: the conditions of the paper; blue: "
    "their variants; grey: controls.",
)
DISTRIBUTIONS = Figure(
    "distributions",
    "Images with and without a prompt",
    "One point per image; the box is from the first to the third quartile with the median, the whiskers reach to the "
    "last image within 1.5 times its length, and the diamond is the mean.",
)
HEADS = Figure(
    "heads",
    "Blocks and heads",
    "Enrichment of the class token's attention inside lesions, mean over images, of each head of each block, over the "
    "patches that the condition does not replace.",
)
ACCURACIES = Figure(
    "accuracy",
    "Accuracy beside attention",
    "Each point is a condition: its change of the share inside lesions among the other patches, and its change of "
    "accuracy.",
)


def save(make: Any, folder: Path, name: str) -> bool:
    """Make a figure under the settings of reports and write it as PNG and PDF; False where there is none to make."""
    from matplotlib import rc_context

    with rc_context(SETTINGS | OWN):
        figure = make()
        if figure is None:
            return False
        folder.mkdir(parents=True, exist_ok=True)
        for suffix, how in FORMATS.items():
            with atomic_path(folder / f"{name}.{suffix}") as temporary:
                figure.savefig(temporary, dpi=DPI, **how)
                if suffix == "png" and Path(temporary).stat().st_size > LARGE:
                    _with_palette(temporary)
            figure.set_layout_engine("none")  # the places stay as they are
    return True


def _with_palette(path: str | Path) -> None:
    """Store a PNG file with 256 colours, which makes it a third as large."""
    from PIL import Image

    with Image.open(path) as picture:
        picture.convert("RGB").quantize(256, kmeans=1).save(path, format="PNG", optimize=True)


def empty_figure(width: float, height: float) -> Any:
    """A figure in inches whose parts are placed so that they do not overlap."""
    from matplotlib.figure import Figure as Canvas

    return Canvas(figsize=(width, height), layout="constrained")


def _colour(results: Results, condition: Condition) -> str:
    if condition.control:
        return CONTROL
    return CLAIM if condition in claims(results) else FORM


def _rows(axes: Any, conditions: Sequence[Condition]) -> None:
    """A row per condition, the first one at the top."""
    axes.set_yticks(range(len(conditions)), [one_line(condition.name) for condition in conditions])
    axes.set_ylim(len(conditions) - 0.4, -0.6)
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines["left"].set_visible(False)


def _forest(results: Results, summary: Summary) -> Any:
    conditions, name = prompted(results), main_map(results)
    changes = [summary.changes[c.name, name, measure, OTHERS] for c in conditions for measure, _ in FOREST]
    if not any(change.effect.images for change in changes):
        return None
    figure = empty_figure(7.4, 1.05 + ROW * len(conditions))
    panels = figure.subplots(1, len(FOREST), sharey=True)
    for axes, (measure, label) in zip(panels, FOREST, strict=True):
        axes.axvline(0, color="black", linewidth=0.8)
        for row, condition in enumerate(conditions):
            colour = _colour(results, condition)
            both = [summary.changes[condition.name, name, measure, patches] for patches in (ALL, OTHERS)]
            _interval(axes, row - 0.17, both[0], color=colour, markerfacecolor="white", alpha=0.75)
            _interval(axes, row + 0.13, both[1], color=colour)
        _rows(axes, conditions)
        axes.set_xlabel(f"change of\n{label}")
    figure.suptitle(one_line(f"map: {name}"), fontsize=8.5, x=0.01, ha="left")
    return figure


def _interval(axes: Any, y: float, change: Change, **style: Any) -> None:
    effect, factor = change.effect, scale(change.measure)
    if not effect.images:
        return
    axes.errorbar(
        factor * effect.mean,
        y,
        xerr=[[factor * (effect.mean - effect.low)], [factor * (effect.high - effect.mean)]],
        marker="o",
        markersize=3.4,
        linewidth=1.1,
        **style,
    )


def _distributions(results: Results, summary: Summary) -> Any:
    name, shown = main_map(results), [c for c in results.conditions if c.control or c in claims(results)]
    none = next(c for c in results.conditions if c.name == NO_PROMPT)
    masses = [_numbers(results.measures[c.name][name]["all"]["mass"]) for c in (none, *shown)]
    changes = [_differences(results, c.name, name) for c in shown]
    if not masses[0] or not any(changes):
        return None
    figure = empty_figure(7.4, 0.85 + 0.34 * len(masses))
    left, right = figure.subplots(1, 2, width_ratios=(1, 1))
    _boxes(left, results, [none, *shown], masses)
    left.set_xlabel("share inside lesions in %, all patches")
    right.axvline(0, color="black", linewidth=0.8)
    _boxes(right, results, shown, changes)
    right.set_xlabel("change to no prompt in points, other patches")
    figure.suptitle(one_line(f"map: {name}"), fontsize=8.5, x=0.01, ha="left")
    return figure


def _numbers(column: Column) -> list[float]:
    return [100 * value for value in column if value is not None]


def _differences(results: Results, condition: str, name: str) -> list[float]:
    own = results.measures[condition][name]
    pairs = zip(own["reference"]["mass"], own["kept"]["mass"], strict=True)
    return [100 * (b - a) for a, b in pairs if a is not None and b is not None]


def _boxes(axes: Any, results: Results, conditions: Sequence[Condition], values: Sequence[Sequence[float]]) -> None:
    draw = random.Random(0)
    for row, (condition, found) in enumerate(zip(conditions, values, strict=True)):
        if not found:
            continue
        colour = "black" if condition.name == NO_PROMPT else _colour(results, condition)
        heights = [row + draw.uniform(-0.22, 0.22) for _ in found]
        axes.scatter(found, heights, s=5, color=colour, alpha=0.35, linewidths=0, rasterized=len(found) > 500)
        line = {"color": colour, "linewidth": 1.0}
        axes.boxplot(
            [found], positions=[row], orientation="horizontal", widths=0.5, showfliers=False, showmeans=True,
            boxprops=line, whiskerprops=line, capprops=line, medianprops=line | {"linewidth": 1.8},
            meanprops={"marker": "D", "markersize": 3.5, "markerfacecolor": "white", "markeredgecolor": colour},
        )  # fmt: skip
    _rows(axes, conditions)


def _heads(results: Results, summary: Summary) -> Any:
    import numpy as np

    def table(rows: Any) -> Any:
        return np.array(rows, dtype=float)  # None becomes "not a number"

    pairs = [(c, table(results.reference_heads[c.name]), table(results.heads[c.name])) for c in claims(results)]
    pairs = [(c, none, own) for c, none, own in pairs if own.size and none.shape == own.shape]
    if not pairs or all(np.isnan(own).all() for _, _, own in pairs):
        return None
    blocks, heads = pairs[0][1].shape
    width, height = min(max(0.16 * heads, 1.5), 2.4), min(max(0.16 * blocks, 1.1), 3.2)
    figure = empty_figure(3 * (width + 0.75), len(pairs) * (height + 0.55) + 0.1)
    panels = figure.subplots(len(pairs), 3, squeeze=False)
    largest = float(np.nanmax([matrices for _, *matrices in pairs]))
    widest = max(float(np.nanmax(np.abs(own - none))) for _, none, own in pairs) or 1.0
    for row, (condition, none, own) in zip(panels, pairs, strict=True):
        name = one_line(condition.name)
        for axes, values, title in ((row[0], none, "no prompt"), (row[1], own, name)):
            picture = _matrix(axes, values, title, cmap="cividis", vmin=0.0, vmax=largest)
        figure.colorbar(picture, ax=row[1], label="enrichment")
        picture = _matrix(row[2], own - none, f"{name} − no prompt", cmap="PuOr_r", vmin=-widest, vmax=widest)
        figure.colorbar(picture, ax=row[2], label="difference")
        row[0].set_ylabel("block")
    return figure


def _matrix(axes: Any, values: Any, title: str, **colours: Any) -> Any:
    picture = axes.imshow(values, aspect="auto", interpolation="nearest", **colours)
    for axis, count in ((axes.xaxis, values.shape[1]), (axes.yaxis, values.shape[0])):
        step = 1 if count <= 6 else -(-count // 6)
        axis.set_ticks(range(0, count, step), [str(k + 1) for k in range(0, count, step)])
    axes.set_title(title)
    axes.set_xlabel("head")
    return picture


def draw_accuracies(results: Results, summary: Summary) -> Any:
    name, conditions = main_map(results), prompted(results)
    share = {c.name: summary.changes[c.name, name, "mass", OTHERS].effect for c in conditions}
    panels = []
    for text in list(results.outcomes[NO_PROMPT].predicted)[:MOST_TEXTS]:
        panels.append(
            (f"text {text}", {c: 100 * e.effect.mean for (c, t), e in summary.zero_shot.items() if t == text})
        )
    few = {c: found.difference.mean for c, found in summary.few_shot.items() if found.difference.mean is not None}
    panels += [("few-shot", few)] if few else []
    if not panels or not any(effect.images for effect in share.values()):
        return None
    figure = empty_figure(2.35 * len(panels) + 1.6, max(2.5, 0.5 + 0.155 * len(conditions)))
    axes_of = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (title, accuracy) in zip(axes_of, panels, strict=True):
        axes.axhline(0, color="black", linewidth=0.6)
        axes.axvline(0, color="black", linewidth=0.6)
        axes.grid(color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)
        for k, condition in enumerate(conditions):
            if condition.name in accuracy and share[condition.name].images:
                axes.plot(100 * share[condition.name].mean, accuracy[condition.name], **_marker(results, condition, k))
        axes.set_title(one_line(title), loc="left")
        axes.set_xlabel("change of the share inside\nlesions, points")
    axes_of[0].set_ylabel("change of accuracy, points")
    handles = [_entry(_marker(results, condition, k)) for k, condition in enumerate(conditions)]
    figure.legend(
        handles, [one_line(c.name) for c in conditions], loc="outside right center", frameon=False, fontsize=7
    )
    return figure


def _marker(results: Results, condition: Condition, k: int) -> dict[str, Any]:
    colour = COLOURS[k % (len(COLOURS) - 1)]  # the last one is grey, as controls are
    if condition.control or condition in claims(results):
        colour = _colour(results, condition)
    return {"color": colour, "marker": MARKERS[k % len(MARKERS)], "markersize": 5, "linestyle": "", "alpha": 0.85}


def _entry(style: dict[str, Any]) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], **style)
