"""The report of a measurement as one HTML page without other files."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from evidence.figures import Figure
from evidence.tables import Report
from sweep.report.html import embedded, page_environment


def html(report: Report, pictures: Path, figures: Sequence[Figure], problems: Sequence[str]) -> str:
    """The page, with the PNG files of a folder embedded."""
    shown = []
    for figure in figures:
        path = pictures / f"{figure.name}.png"
        with Image.open(path) as image:
            width, height = image.size
        shown.append(vars(figure) | {"source": embedded(path), "width": width, "height": height})
    template = page_environment(Path(__file__).parent).get_template("page.html.j2")
    return template.render(report=report, figures=shown, problems=problems)
