"""Draws curves with matplotlib: a picture of each, and all of them as panels of one page."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from dassl.utils import atomic_path
from sweep.plan import UNTRAINED
from sweep.report.curves import Curve
from sweep.report.stats import Value

# Okabe and Ito's colours, which colour-blind readers can tell apart; black and vermilion are for the two methods that
# the others are compared with, and the yellow is darkened to be seen on white.
EMPHASISED = {"BiomedDPT": ("#000000", 2.6), "CoOp": ("#D55E00", 2.0)}
COLOURS = ("#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C8C00", "#7F7F7F")
MARKERS = "osD^vP*X<>hpd8H"
DASHES = ("-", (0, (5, 1.5)), (0, (7, 1.5, 1.2, 1.5)))
MOST_BANDS = 6  # methods; the bands of more cover each other
WIDTH, HEIGHT, DPI = 7.0, 4.3, 120
AXES = LEFT, BOTTOM, AXES_WIDTH, AXES_HEIGHT = 0.09, 0.12, 0.63, 0.79  # in parts of the figure
TITLE = (LEFT, BOTTOM + AXES_HEIGHT + 0.025)
PANEL, COLUMNS, LEGEND_ROW = 2.2, 4, 0.17  # of the page, in inches
SETTINGS = {"font.size": 10, "axes.spines.top": False, "axes.spines.right": False, "pdf.fonttype": 42}
SMALL = {"font.size": 7, "axes.titlesize": 8, "xtick.major.size": 2, "ytick.major.size": 2}
X_LABEL, Y_LABEL = "shots: training images per class", "accuracy in %"
FAST = 1  # of nine levels of compression: files 4 % larger, written in two thirds of the time


def draw_pictures(curves: Sequence[Curve], to: Path) -> None:
    """Draw <name>.png of each curve; names and samples of the lines are in the same order in all of them."""
    from matplotlib import rc_context

    with rc_context(SETTINGS):
        # What the pictures have in common is made once: text and axes take more time than lines.
        styles, figure = _styles(curves), _figure((WIDTH, HEIGHT))
        frame = _pixels(_frame(styles))
        axes = _axes(figure, AXES, curves[0].shots, grid=0.6)
        title = figure.text(*TITLE, "", fontsize=11)
        for curve in curves:
            title.set_text(curve.title)
            for artist in [*axes.lines, *axes.collections]:
                artist.remove()
            _fill(axes, curve, styles)
            picture = Image.fromarray(np.minimum(frame, _pixels(figure)))
            with atomic_path(to / f"{curve.name}.png") as temporary:
                picture.save(temporary, format="png", compress_level=FAST)


def draw_page(curves: Sequence[Curve], path: Path) -> None:
    """Draw all curves of a section as panels of one PDF page, as in a paper's figure; a single one as its picture."""
    from matplotlib import rc_context

    single, styles = len(curves) == 1, _styles(curves)
    with rc_context(SETTINGS if single else SETTINGS | SMALL), atomic_path(path) as temporary:
        figure = _picture(curves[0], styles) if single else _page(curves, styles)
        # Without the date: the same results give the same file.
        figure.savefig(temporary, format="pdf", metadata={"CreationDate": None})


def _styles(curves: Sequence[Curve]) -> dict[str, dict]:
    """Colour, marker and dashes of each method, those with the highest right ends on average first.

    No two of up to 105 methods look the same, with or without colour.
    """
    methods = list(dict.fromkeys(method for curve in curves for method, _ in curve.lines))
    styles = {}
    for k, method in enumerate(methods):
        colour, width = EMPHASISED.get(method, (COLOURS[k % len(COLOURS)], 1.4))
        line = ":" if method in UNTRAINED else DASHES[k // len(COLOURS) % len(DASHES)]
        styles[method] = {"color": colour, "linewidth": width, "marker": MARKERS[k % len(MARKERS)], "markersize": 5}
        styles[method]["linestyle"] = "-" if method in EMPHASISED else line
    ends: dict[str, list[float]] = {method: [] for method in methods}
    for curve in curves:
        for method, values in curve.lines:
            ends[method] += [value.mean for value in values if value.mean is not None][-1:]
    height = {method: sum(found) / len(found) if found else -1.0 for method, found in ends.items()}
    return {method: styles[method] for method in sorted(methods, key=lambda method: -height[method])}


def _banded(methods: Sequence[str]) -> list[str]:
    """The methods whose intervals are shown."""
    return [method for method in methods if len(methods) <= MOST_BANDS or method in EMPHASISED]


def _about_bands(methods: Sequence[str]) -> str:
    banded = _banded(methods)
    of = f" of {' and '.join(sorted(banded))}" if len(banded) < len(methods) else ""
    return f"shaded: 95 % intervals{of}" if banded else ""


def _figure(size: tuple[float, float]):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, dpi=DPI)
    FigureCanvasAgg(figure)
    return figure


def _axes(figure, place: tuple[float, float, float, float], shots: Sequence[int], grid: float):
    from matplotlib.ticker import NullLocator

    axes = figure.add_axes(place)
    axes.set_xscale("log", base=2)
    axes.set_xticks(shots, [str(k) for k in shots])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.grid(color="#dddddd", linewidth=grid)
    axes.set_axisbelow(True)
    return axes


def _frame(styles: dict[str, dict]):
    """What is around the axes, the same for all pictures."""
    figure = _figure((WIDTH, HEIGHT))
    figure.text(LEFT + AXES_WIDTH / 2, 0.02, X_LABEL, ha="center")
    figure.text(0.02, BOTTOM + AXES_HEIGHT / 2, Y_LABEL, va="center", ha="center", rotation="vertical")
    figure.text(0.985, 0.015, _about_bands(list(styles)), fontsize=7.5, color="#555555", ha="right")
    step = min(0.045, AXES_HEIGHT / len(styles))
    middle, left = BOTTOM + AXES_HEIGHT / 2, LEFT + AXES_WIDTH + 0.02
    for k, (method, style) in enumerate(styles.items()):
        _sample(figure, left, middle + step * ((len(styles) - 1) / 2 - k), method, style, fontsize=8.5)
    return figure


def _sample(figure, x: float, y: float, name: str, style: dict, fontsize: float) -> None:
    """A short piece of a line and its name, in parts of the figure."""
    from matplotlib.lines import Line2D

    inch = 1 / figure.get_figwidth()
    xs = (x, x + 0.21 * inch, x + 0.42 * inch)
    figure.add_artist(Line2D(xs, (y, y, y), markevery=(1, 2), **style))
    figure.text(xs[-1] + 0.07 * inch, y, name, fontsize=fontsize, va="center_baseline")


def _pixels(figure) -> np.ndarray:
    """Colours (H, W, 3), uint8, on white."""
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3]


def _picture(curve: Curve, styles: dict[str, dict]):
    figure = _frame(styles)
    _fill(_axes(figure, AXES, curve.shots, grid=0.6), curve, styles)
    figure.text(*TITLE, curve.title, fontsize=11)
    return figure


def _page(curves: Sequence[Curve], styles: dict[str, dict]):
    columns = min(COLUMNS, len(curves))
    rows = math.ceil(len(curves) / columns)
    legend = LEGEND_ROW * math.ceil(len(styles) / columns)
    width, height = PANEL * columns + 0.3, PANEL * rows + legend + 0.65
    figure = _figure((width, height))
    small = {
        method: style | {"markersize": 3, "linewidth": style["linewidth"] * 0.6} for method, style in styles.items()
    }
    for k, curve in enumerate(curves):
        row, column = divmod(k, columns)
        left, bottom = 0.45 + PANEL * column, height - 0.3 - PANEL * row - (PANEL - 0.4)
        place = (left / width, bottom / height, (PANEL - 0.4) / width, (PANEL - 0.5) / height)
        _fill(_axes(figure, place, curve.shots, grid=0.4), curve, small)
        figure.text(left / width, (bottom + PANEL - 0.46) / height, curve.of, fontsize=8)
    figure.text(0.45 / width, 1 - 0.16 / height, curves[0].section, fontsize=10)
    figure.text(0.5, (legend + 0.2) / height, f"{X_LABEL}; {_about_bands(list(styles))}", ha="center")
    middle = (height - 0.3 - PANEL * rows / 2) / height
    figure.text(0.13 / width, middle, Y_LABEL, va="center", ha="center", rotation="vertical")
    for k, (method, style) in enumerate(small.items()):
        row, column = divmod(k, columns)
        y = (legend - LEGEND_ROW * row) / height
        _sample(figure, (0.45 + PANEL * column) / width, y, method, style, fontsize=7)
    return figure


def _fill(axes, curve: Curve, styles: dict[str, dict]) -> None:
    """Lines and intervals of a curve."""
    banded = _banded(list(styles))
    for method, values in curve.lines:
        _plot(axes, curve.shots, values, styles[method], method in EMPHASISED, method in banded)
    # Intervals of few seeds can be wider than all differences: the means decide what is seen.
    shown = [m for _, values in curve.lines for v in values if (m := v.mean) is not None]
    margin = max(1.0, 0.15 * (max(shown) - min(shown)))
    axes.set_ylim(max(min(shown) - margin, 0), min(max(shown) + margin, 100.5))


def _plot(axes, shots: Sequence[int], values: Sequence[Value], style: dict, front: bool, band: bool) -> None:
    nan = float("nan")
    means = [nan if value.mean is None else value.mean for value in values]
    axes.plot(shots, means, zorder=4 if front else 3, **style)
    if band:
        halves = [value.half or 0.0 for value in values]
        low, high = ([m + sign * h for m, h in zip(means, halves, strict=True)] for sign in (-1, 1))
        axes.fill_between(shots, low, high, color=style["color"], alpha=0.13, linewidth=0)
