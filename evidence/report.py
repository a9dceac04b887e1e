"""Writes the report of a measurement: tables, figures and a page."""

import math
from collections.abc import Sequence
from pathlib import Path

from dassl.errors import OutputError
from dassl.utils import atomic_path
from dassl.utils.csvtext import csv_text
from evidence.figures import FOLDER, Figure, draw_figures
from evidence.gallery import draw_gallery
from evidence.page import html
from evidence.results import Results
from evidence.statistics import Effect
from evidence.summary import Summary, summarise
from evidence.tables import Report, build_report
from sweep.report.escape import markdown, one_line
from sweep.report.latex import latex_table
from sweep.report.text import markdown_table

PAGE, MARKDOWN, LATEX, CSV = "report.html", "tables.md", "tables.tex", "measures.csv"
HEADER = ("condition", "map", "measure", "patches", "without", "with", "difference", "low", "high", "p", "images")


def write_report(results: Results, folder: Path) -> list[str]:
    """Write the report of a measurement into its folder: report.html, tables.md, measures.csv, tables.tex, figures/.

    Args:
        results: the numbers.
        folder: also holds the pictures and maps of the gallery; what is missing or damaged there is left out.

    Returns:
        the sentences with the main numbers, and a line about each picture that cannot be shown.

    Raises:
        OutputError: a file cannot be written.
    """
    summary = summarise(results)
    report = build_report(results, summary)
    try:
        figures = draw_figures(results, summary, folder / FOLDER)
        gallery, problems = draw_gallery(results, folder, folder / FOLDER)
        for name, text in (
            (MARKDOWN, markdown_text(report, [*figures, *gallery], problems)),
            (CSV, csv_file(summary)),
            (LATEX, latex_text(report)),
            (PAGE, html(report, folder / FOLDER, [*figures, *gallery], problems)),
        ):
            with atomic_path(folder / name) as temporary:
                temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(error.filename or folder, error) from error
    return [*report.sentences, *problems]


def print_report(results: Results, folder: Path) -> None:
    """Write the report as `write_report` does, and print what it returns and where the page is."""
    for line in write_report(results, folder):
        print(one_line(line))
    print(f"report written to '{folder / PAGE}'")


def markdown_text(report: Report, figures: Sequence[Figure], problems: Sequence[str]) -> str:
    """The whole report with links to its figures."""
    parts = [f"# {markdown(report.title)}", _items(report.facts), *map(markdown, report.sentences)]
    parts += ["## Conditions", _items(report.conditions), "## Tables", *map(markdown_table, report.tables)]
    parts += ["## Figures"] if figures else []
    for figure in figures:
        parts += [f"![{figure.title}]({FOLDER}/{figure.name}.png)", f"{figure.title}. {figure.about}"]
    if problems:
        parts.append("Pictures that cannot be shown:\n\n" + "\n".join(f"- {markdown(line)}" for line in problems))
    return "\n\n".join([*parts, "## Method and limits", *report.notes]) + "\n"


def _items(pairs: Sequence[tuple[str, str]]) -> str:
    return "\n".join(f"- {markdown(name)}: {markdown(text)}" for name, text in pairs)


def latex_text(report: Report) -> str:
    r"""One table environment per table, for \input; needs \usepackage{booktabs}."""
    about = "needs \\usepackage{booktabs}; bold: p < 0.05 and an interval that leaves out 0"
    parts = [f"% {one_line(report.title)}\n% {about}"]
    return "\n\n".join([*parts, *(latex_table(t, f"evidence_{t.key}", report.title) for t in report.tables)]) + "\n"


def csv_file(summary: Summary) -> str:
    """A row per condition, map, measure and patches, with all digits; shares are from 0 to 1."""
    rows = [
        [c.condition, c.map, c.measure, c.patches, c.without, c.with_prompt, *_numbers(c.effect), c.effect.images]
        for c in [*summary.changes.values(), *summary.zero_shot.values()]
    ]
    return csv_text(HEADER, rows)


def _numbers(effect: Effect) -> list[float | None]:
    found = (effect.mean, effect.low, effect.high, effect.p_holm)
    return [None if math.isnan(value) or not effect.images else value for value in found]
