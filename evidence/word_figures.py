"""Draws what learned text contexts became over the epochs, as distances.png and distances.pdf."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dassl.utils import atomic_path
from evidence.figures import FORMATS
from evidence.learning import Learning
from evidence.word_files import mean
from sweep.report.escape import one_line
from sweep.report.figures import DPI, SETTINGS

NAMES = ("distances.png", "distances.pdf")
# Colours of the palette of Okabe and Ito, which colour-blind readers can tell apart; the dashes differ, too.
STYLES: dict[str, tuple[str, dict[str, Any]]] = {
    "template": ("clinical template", {"color": "#0072B2", "linestyle": "-"}),
    "photo": ("“a photo of a …”", {"color": "#D55E00", "linestyle": (0, (5, 1.5))}),
    "teacher": ("teacher", {"color": "#000000", "linestyle": (0, (7, 1.5, 1.2, 1.5))}),
}
PANEL_WIDTH, MARGIN, HEIGHT = 3.1, 0.9, 7.8  # inches
ROWS = (
    "1 − cosine\nof text features",
    "1 − cosine\nof each class",
    "vectors: distance\nto their start",
    "training loss",
)


def draw_figures(trainings: Sequence[Learning], folder: Path) -> None:
    """Draw the curves of trainings side by side, in the same scale, as PNG and PDF.

    Rows: distances of the text features, mean over classes; the same of each class, to the last text (the teacher where
    there is one); Euclidean distance of each context vector to its start, and their mean; training loss.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(SETTINGS | {"font.size": 9, "axes.titlesize": 10}):
        size = PANEL_WIDTH * len(trainings) + MARGIN + 0.6 * (len(trainings) == 1), HEIGHT
        figure = Figure(figsize=size, dpi=DPI, layout="constrained")
        axes = figure.subplots(
            4, len(trainings), sharex="col", sharey="row", squeeze=False, height_ratios=[1.5, 1, 1, 1]
        )
        for column, training in zip(axes.T, trainings, strict=True):
            _draw(column, training)
        for axis, label in zip(axes[:, 0], ROWS, strict=True):
            axis.set_ylabel(label)
        # One legend for all panels: the texts that any of them shows.
        handles = {handle.get_label(): handle for axis in axes[0] for handle in axis.get_legend_handles_labels()[0]}
        figure.legend(handles.values(), handles.keys(), loc="outside upper left", ncols=3, frameon=False)
        for name, options in zip(NAMES, FORMATS.values(), strict=True):
            with atomic_path(folder / name) as temporary:
                figure.savefig(temporary, **options)


def _draw(column: Sequence[Any], training: Learning) -> None:
    """Draw one training into its four panels."""
    upper, classes, vectors, lower = column
    about = training.about
    upper.set_title(one_line(f"{about['method']}, K = {about['shots']}, seed {about['seed']}"), loc="left")
    epochs = range(len(training.moved))
    for name, of_epochs in training.distances.items():
        label, style = STYLES[name]
        upper.plot(epochs, [mean(row) for row in of_epochs], label=f"to {label}", linewidth=1.8, **style)
    text = list(training.distances)[-1]
    colour = STYLES[text][1]["color"]
    classes.plot(epochs, training.distances[text], color=colour, linewidth=0.8)
    classes.set_title(f"to {STYLES[text][0]}, {len(training.classnames)} classes", loc="left", fontsize=8.5)
    vectors.plot(epochs, training.moved, color="#7F7F7F", linewidth=0.8)
    vectors.plot(epochs, [mean(row) for row in training.moved], color="#000000", linewidth=1.8)
    vectors.set_title("gray: each vector; black: mean", loc="left", fontsize=8.5)
    lower.plot(epochs[1:], training.losses, color="#000000", linewidth=1.4)
    lower.set_xlabel("epoch")
    for axis in column:
        axis.grid(color="#dddddd", linewidth=0.6)
        axis.set_axisbelow(True)
        axis.set_ylim(bottom=0)
