"""Accuracy over shots: a figure per data set and one of the average, each as PNG, and all on the pages of a PDF."""

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from dassl.utils import atomic_path
from sweep.plan import UNTRAINED
from sweep.report.stats import Value

# Okabe and Ito's colours, which colour-blind readers can tell apart; black and vermilion are for the two methods that
# the others are compared with, and the yellow is darkened to be seen on white.
EMPHASISED = {"BiomedDPT": ("#000000", 2.6), "CoOp": ("#D55E00", 2.0)}
COLOURS = ("#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C8C00", "#7F7F7F")
MARKERS = "osD^vP*X<>hpd8H"
DASHES = ("-", (0, (5, 1.5)), (0, (7, 1.5, 1.2, 1.5)))
MOST_BANDS = 6  # methods; the bands of more cover each other
PDF, DRAWN = "curves.pdf", ".drawn"
WIDTH, HEIGHT, DPI = 7.0, 4.3, 120
FAST = {"compress_level": 1}  # files 4 % larger, written in two thirds of the time


@dataclass(frozen=True)
class Curve:
    """A figure's name (its file's, too), title, shots and one line of values per method."""

    name: str
    title: str
    shots: tuple[int, ...]
    lines: tuple[tuple[str, tuple[Value, ...]], ...]

    @property
    def is_empty(self) -> bool:
        return not any(value.mean is not None for _, values in self.lines for value in values)


def draw(sections: Sequence[tuple[Sequence[Curve], Path]], formats: Sequence[str]) -> int:
    """Draw each section's curves into its folder, as <name>.png and as pages of curves.pdf, as the formats ask.

    Returns how many figures were drawn: those of a section where none has changed are kept.
    """
    jobs = [(curves, to, formats) for curves, to in sections if curves and not _is_drawn(curves, to, formats)]
    if len(jobs) < 2 or (os.cpu_count() or 1) == 1:
        for job in jobs:
            _draw_section(*job)
    else:
        # Not forked: this process may have threads.
        with ProcessPoolExecutor(min(len(jobs), os.cpu_count() or 1), get_context("spawn")) as pool:
            list(pool.map(_draw_section, *zip(*jobs, strict=True)))
    return sum(len(curves) for curves, _, _ in jobs)


def _digest(curves: Sequence[Curve]) -> str:
    """Of what is drawn and of how: this file."""
    return hashlib.sha256(repr(curves).encode() + Path(__file__).read_bytes()).hexdigest()


def _is_drawn(curves: Sequence[Curve], to: Path, formats: Sequence[str]) -> bool:
    files = [to / f"{curve.name}.png" for curve in curves] if "png" in formats else []
    files += [to / PDF] if "pdf" in formats else []
    try:
        stored = (to / DRAWN).read_text().split()
    except OSError:
        return False
    return stored[:1] == [_digest(curves)] and {*formats} <= {*stored[1:]} and all(file.is_file() for file in files)


def _draw_section(curves: Sequence[Curve], to: Path, formats: Sequence[str]) -> None:
    """Draw one section's figures, then note what was drawn."""
    to.mkdir(parents=True, exist_ok=True)
    (to / DRAWN).unlink(missing_ok=True)
    from matplotlib import rc_context

    settings = {"font.size": 10, "axes.spines.top": False, "axes.spines.right": False, "pdf.fonttype": 42}
    with rc_context(settings):
        figures = [_figure(curve) for curve in curves]
        _save(figures, [curve.name for curve in curves], to, formats)
    with atomic_path(to / DRAWN) as temporary:
        temporary.write_text(" ".join([_digest(curves), *formats]))


def _styles(methods: Sequence[str]) -> dict[str, dict]:
    """Colour, marker and dashes; no two of up to 105 methods look the same, with or without colour."""
    styles = {}
    for k, method in enumerate(methods):
        colour, width = EMPHASISED.get(method, (COLOURS[k % len(COLOURS)], 1.4))
        line = ":" if method in UNTRAINED else DASHES[k // len(COLOURS) % len(DASHES)]
        styles[method] = {"color": colour, "linewidth": width, "marker": MARKERS[k % len(MARKERS)]}
        styles[method]["linestyle"] = "-" if method in EMPHASISED else line
    return styles


def _figure(curve: Curve):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullLocator

    figure = Figure(figsize=(WIDTH, HEIGHT))
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.09, 0.12, 0.63, 0.79))
    styles = _styles([method for method, _ in curve.lines])
    banded = [method for method, _ in curve.lines if len(curve.lines) <= MOST_BANDS or method in EMPHASISED]
    ends = []
    for method, values in curve.lines:
        nan = float("nan")
        means = [nan if value.mean is None else value.mean for value in values]
        halves = [value.half or 0.0 for value in values]
        style, front = styles[method], method in EMPHASISED
        (line,) = axes.plot(curve.shots, means, markersize=5, label=method, zorder=4 if front else 3, **style)
        if method in banded:
            low, high = ([m + sign * h for m, h in zip(means, halves, strict=True)] for sign in (-1, 1))
            axes.fill_between(curve.shots, low, high, color=style["color"], alpha=0.13, linewidth=0)
        ends.append((next((m for m in reversed(means) if m == m), -1.0), line))
    axes.set_xscale("log", base=2)
    axes.set_xticks(curve.shots, [str(k) for k in curve.shots])
    axes.xaxis.set_minor_locator(NullLocator())
    # Intervals of few seeds can be wider than all differences: the means decide what is seen.
    shown = [m for _, values in curve.lines for v in values if (m := v.mean) is not None]
    margin = max(1.0, 0.15 * (max(shown) - min(shown)))
    axes.set_ylim(max(min(shown) - margin, 0), min(max(shown) + margin, 100.5))
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_xlabel("shots: training images per class")
    axes.set_ylabel("accuracy in %")
    axes.set_title(curve.title, fontsize=11, loc="left")
    # The legend's order is that of the lines' right ends.
    handles = [line for _, line in sorted(ends, key=lambda end: -end[0])]
    of = f" of {' and '.join(sorted(banded))}" if len(banded) < len(curve.lines) else ""
    figure.text(0.985, 0.015, f"shaded: 95 % intervals{of}", fontsize=7.5, color="#555555", ha="right")
    axes.legend(
        handles=handles, loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=8.5, handlelength=3
    )
    return figure


def _save(figures: Sequence, names: Sequence[str], to: Path, formats: Sequence[str]) -> None:
    """Without the dates: the same results give the same files."""
    if "png" in formats:
        for figure, name in zip(figures, names, strict=True):
            with atomic_path(to / f"{name}.png") as temporary:
                figure.savefig(temporary, format="png", dpi=DPI, metadata={"Software": None}, pil_kwargs=FAST)
    if "pdf" in formats:
        from matplotlib.backends.backend_pdf import PdfPages

        # One file: each PDF costs half a second for the part of the font that it holds.
        with atomic_path(to / PDF) as temporary, PdfPages(temporary, metadata={"CreationDate": None}) as pages:
            for figure in figures:
                pages.savefig(figure)
