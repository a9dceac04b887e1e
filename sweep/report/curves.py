"""Accuracy over shots, one figure per data set and one of the average, as PNG and PDF."""

import hashlib
import json
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from dassl.utils import atomic_path
from sweep.plan import UNTRAINED
from sweep.report.stats import Value

# Okabe and Ito's colours, which colour-blind readers can tell apart; the yellow is darkened to be seen on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C8C00")
MARKERS = "osD^vP*X<>hpd8H"
DASHES = ("-", (0, (5, 1.5)), (0, (1.5, 1.2)))
EMPHASISED = {"BiomedDPT": "#000000"}
SERIAL = 8  # figures that are drawn sooner than a second process has started
WIDTH, HEIGHT, DPI = 7.0, 4.3, 120


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


def draw(curves: Sequence[tuple[Curve, Path]], formats: Sequence[str]) -> int:
    """Draw each curve to <path>.png and <path>.pdf as asked; returns how many were drawn: unchanged ones are kept."""
    jobs = [(curve, path, tuple(formats)) for curve, path in curves if not _is_drawn(curve, path, formats)]
    if len(jobs) <= SERIAL or (os.cpu_count() or 1) == 1:
        for job in jobs:
            _draw(*job)
    else:
        # Not forked: this process has threads.
        with ProcessPoolExecutor(min(4, os.cpu_count() or 1), get_context("spawn")) as pool:
            list(pool.map(_draw, *zip(*jobs, strict=True), chunksize=4))
    return len(jobs)


def _digest(curve: Curve) -> str:
    """Of what is drawn and of how: this file."""
    drawn = repr(curve).encode() + Path(__file__).read_bytes()
    return hashlib.sha256(drawn).hexdigest()


def _is_drawn(curve: Curve, path: Path, formats: Sequence[str]) -> bool:
    files = [path.with_name(f"{path.name}.{kind}") for kind in formats]
    try:
        stored = json.loads(path.with_name(f"{path.name}.json").read_text())
    except (OSError, ValueError):
        return False
    return stored == {"drawn": _digest(curve)} and all(file.is_file() for file in files)


def _styles(methods: Sequence[str]) -> dict[str, dict]:
    """Colour, marker and dashes; no two of up to 120 methods look the same, with or without colour."""
    styles = {}
    for k, method in enumerate(methods):
        colour = EMPHASISED.get(method, COLOURS[k % len(COLOURS)])
        line = ":" if method in UNTRAINED else DASHES[k // len(COLOURS) % len(DASHES)]
        styles[method] = {"color": colour, "marker": MARKERS[k % len(MARKERS)], "linestyle": line}
        styles[method]["linewidth"] = 2.6 if method in EMPHASISED else 1.4
    return styles


def _draw(curve: Curve, path: Path, formats: Sequence[str]) -> None:
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullLocator

    settings = {"font.size": 10, "axes.spines.top": False, "axes.spines.right": False, "pdf.fonttype": 42}
    with rc_context(settings):
        figure = Figure(figsize=(WIDTH, HEIGHT))
        FigureCanvasAgg(figure)
        axes = figure.add_axes((0.09, 0.12, 0.63, 0.79))
        styles = _styles([method for method, _ in curve.lines])
        ends = []
        for method, values in curve.lines:
            nan = float("nan")
            means = [nan if value.mean is None else value.mean for value in values]
            halves = [value.half or 0.0 for value in values]
            style, front = styles[method], method in EMPHASISED
            (line,) = axes.plot(curve.shots, means, markersize=5, label=method, zorder=4 if front else 3, **style)
            low, high = ([m + sign * h for m, h in zip(means, halves, strict=True)] for sign in (-1, 1))
            axes.fill_between(curve.shots, low, high, color=style["color"], alpha=0.16 if front else 0.07, linewidth=0)
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
        axes.legend(
            handles=handles, loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=8.5, handlelength=3
        )
        _save(figure, path, formats)
    with atomic_path(path.with_name(f"{path.name}.json")) as temporary:
        temporary.write_text(json.dumps({"drawn": _digest(curve)}))


def _save(figure, path: Path, formats: Sequence[str]) -> None:
    for kind in formats:
        # Without the date: the same results give the same files.
        metadata = {"CreationDate": None} if kind == "pdf" else {"Software": None}
        with atomic_path(path.with_name(f"{path.name}.{kind}")) as temporary:
            figure.savefig(temporary, format=kind, dpi=DPI, metadata=metadata)
