"""Draws curves with matplotlib: one picture of each (PNG), and a page with a panel for each (PDF)."""

import math
from collections.abc import Sequence
from pathlib import Path

from dassl.utils import atomic_path
from sweep.report.curves import Curve
from sweep.report.escape import one_line
from sweep.report.grid import REFERENCES
from sweep.report.stats import Value

# The palette of Okabe and Ito, which colour-blind readers can tell apart, with the yellow darkened to be seen on white.
# Vermilion and black, with wider lines, are for the two methods that all others are compared with.
EMPHASISED = dict(zip(REFERENCES, (("#D55E00", 2.0), ("#000000", 2.6)), strict=True))
COLOURS = ("#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C8C00", "#7F7F7F")
MARKERS = "osD^vP*X<>hpd8H"
DASHES = ("-", (0, (5, 1.5)), (0, (7, 1.5, 1.2, 1.5)))
MOST_BANDS = 6  # methods with an interval; more intervals would hide each other
WIDTH, HEIGHT, DPI = 7.0, 4.3, 120  # of a picture: inches, and pixels per inch
LEFT, BOTTOM, AXES_WIDTH, AXES_HEIGHT = 0.09, 0.12, 0.63, 0.79  # fractions of a picture
PANEL, COLUMNS, LEGEND_ROW = 2.2, 4, 0.17  # of the page, in inches
SETTINGS = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "pdf.fonttype": 42,
    "text.parse_math": False,  # a "$" in a name begins no formula
}
SMALL = {"font.size": 7, "axes.titlesize": 8, "xtick.major.size": 2, "ytick.major.size": 2}
X_LABEL, Y_LABEL = "shots: training images per class", "accuracy in %"
PNG = {"format": "png", "pil_kwargs": {"compress_level": 1}}  # faster to write, and hardly larger, than the default


def draw_pictures(curves: Sequence[Curve], to: Path) -> None:
    """Draw <name>.png of each curve of a section, with the same legend in all of them."""
    from matplotlib import rc_context

    with rc_context(SETTINGS):
        # One figure serves all curves: making its text and axes anew would take as long as drawing the lines.
        figure, axes, styles = *_frame(curves), _styles(curves)
        for curve in curves:
            for artist in [*axes.lines, *axes.collections]:
                artist.remove()
            _fill(axes, curve, styles)
            with atomic_path(to / f"{curve.name}.png") as temporary:
                figure.savefig(temporary, **PNG)


def draw_page(curves: Sequence[Curve], path: Path) -> None:
    """Draw a PDF page with the curves of a section as panels; a single curve is drawn as its picture."""
    from matplotlib import rc_context

    with rc_context(SETTINGS if len(curves) == 1 else SETTINGS | SMALL), atomic_path(path) as temporary:
        if len(curves) == 1:
            figure, axes = _frame(curves)
            _fill(axes, curves[0], _styles(curves))
        else:
            figure = _page(curves)
        # Without the date, so that the same results give the same file.
        figure.savefig(temporary, format="pdf", metadata={"CreationDate": None})


def _styles(curves: Sequence[Curve]) -> dict[str, dict]:
    """Colour, marker and dashes of each method, the methods with the highest right ends on average first.

    No two of up to 105 methods look the same, with or without colour. Dots are for methods that learn nothing.
    """
    methods = list(dict.fromkeys(method for curve in curves for method, _ in curve.lines))
    styles = {}
    for k, method in enumerate(methods):
        colour, width = EMPHASISED.get(method, (COLOURS[k % len(COLOURS)], 1.4))
        line = ":" if method in curves[0].untrained else DASHES[k // len(COLOURS) % len(DASHES)]
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


def _axes(figure, place: tuple[float, float, float, float], shots: Sequence[int], grid: float):
    """Empty axes; `place` is left, bottom, width and height as fractions of the figure, `grid` a line width."""
    axes = figure.add_axes(place)
    axes.set_xticks(_positions(shots), [str(k) for k in shots])
    axes.grid(color="#dddddd", linewidth=grid)
    axes.set_axisbelow(True)
    return axes


def _positions(shots: Sequence[int]) -> list[float]:
    """Places of the shots on the horizontal axis: doubling is one step."""
    return [math.log2(k) for k in shots]


def _frame(curves: Sequence[Curve]):
    """The figure of a picture with its empty axes, and the legend of all curves."""
    from matplotlib.figure import Figure

    figure, styles = Figure(figsize=(WIDTH, HEIGHT), dpi=DPI), _styles(curves)
    figure.text(LEFT + AXES_WIDTH / 2, 0.02, X_LABEL, ha="center")
    figure.text(0.02, BOTTOM + AXES_HEIGHT / 2, Y_LABEL, va="center", ha="center", rotation="vertical")
    figure.text(0.985, 0.015, _about_bands(list(styles)), fontsize=7.5, color="#555555", ha="right")
    step = min(0.045, AXES_HEIGHT / len(styles))
    middle, left = BOTTOM + AXES_HEIGHT / 2, LEFT + AXES_WIDTH + 0.02
    for k, (method, style) in enumerate(styles.items()):
        _legend_entry(figure, left, middle + step * ((len(styles) - 1) / 2 - k), method, style, fontsize=8.5)
    return figure, _axes(figure, (LEFT, BOTTOM, AXES_WIDTH, AXES_HEIGHT), curves[0].shots, grid=0.6)


def _legend_entry(figure, x: float, y: float, name: str, style: dict, fontsize: float) -> None:
    """A short piece of a line and its name; the place is in fractions of the figure.

    A legend of matplotlib's own takes several times as long to draw.
    """
    from matplotlib.lines import Line2D

    inch = 1 / figure.get_figwidth()
    xs = (x, x + 0.21 * inch, x + 0.42 * inch)
    figure.add_artist(Line2D(xs, (y, y, y), markevery=(1, 2), **style))
    figure.text(xs[-1] + 0.07 * inch, y, one_line(name), fontsize=fontsize, va="center_baseline")


def _page(curves: Sequence[Curve]):
    """The figure of a page: panels in rows, and the legend below them."""
    from matplotlib.figure import Figure

    styles = {
        method: style | {"markersize": 3, "linewidth": style["linewidth"] * 0.6}
        for method, style in _styles(curves).items()
    }
    columns = min(COLUMNS, len(curves))
    rows = math.ceil(len(curves) / columns)
    legend = LEGEND_ROW * math.ceil(len(styles) / columns)
    width, height = PANEL * columns + 0.3, PANEL * rows + legend + 0.65
    figure = Figure(figsize=(width, height))
    for k, curve in enumerate(curves):
        row, column = divmod(k, columns)
        left, bottom = 0.45 + PANEL * column, height - 0.3 - PANEL * row - (PANEL - 0.4)
        place = (left / width, bottom / height, (PANEL - 0.4) / width, (PANEL - 0.5) / height)
        _fill(_axes(figure, place, curve.shots, grid=0.4), curve, styles, curve.of)
    figure.text(0.45 / width, 1 - 0.16 / height, one_line(curves[0].section), fontsize=10)
    figure.text(0.5, (legend + 0.2) / height, f"{X_LABEL}; {_about_bands(list(styles))}", ha="center")
    middle = (height - 0.3 - PANEL * rows / 2) / height
    figure.text(0.13 / width, middle, Y_LABEL, va="center", ha="center", rotation="vertical")
    for k, (method, style) in enumerate(styles.items()):
        row, column = divmod(k, columns)
        y = (legend - LEGEND_ROW * row) / height
        _legend_entry(figure, (0.45 + PANEL * column) / width, y, method, style, fontsize=7)
    return figure


def _fill(axes, curve: Curve, styles: dict[str, dict], title: str = "") -> None:
    """Draw the title, the lines and the intervals of a curve into axes."""
    # A fixed place: matplotlib takes long to find one.
    axes.set_title(one_line(title or curve.title), loc="left", y=1)
    banded = _banded(list(styles))
    for method, values in curve.lines:
        _plot(axes, curve.shots, values, styles[method], method in EMPHASISED, method in banded)
    # The means decide the range: intervals over few seeds can be wider than all differences.
    shown = [m for _, values in curve.lines for v in values if (m := v.mean) is not None]
    margin = max(1.0, 0.15 * (max(shown) - min(shown)))
    axes.set_ylim(max(min(shown) - margin, 0), min(max(shown) + margin, 100.5))


def _plot(axes, shots: Sequence[int], values: Sequence[Value], style: dict, front: bool, band: bool) -> None:
    nan = float("nan")
    means = [nan if value.mean is None else value.mean for value in values]
    axes.plot(_positions(shots), means, zorder=4 if front else 3, **style)
    if band:
        halves = [value.half or 0.0 for value in values]
        low, high = ([m + sign * h for m, h in zip(means, halves, strict=True)] for sign in (-1, 1))
        axes.fill_between(_positions(shots), low, high, color=style["color"], alpha=0.13, linewidth=0)
