"""The report as one HTML page without other files."""

import base64
from pathlib import Path

from jinja2 import Environment, FileSystemLoader

from sweep.report.figures import HEIGHT, WIDTH
from sweep.report.tables import Report


def html(report: Report, curves: Path) -> str:
    """The page, with the PNG files below `curves` embedded."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )

    def picture(section: str, name: str) -> str:
        return base64.b64encode((curves / section / f"{name}.png").read_bytes()).decode()

    template = environment.get_template("page.html.j2")
    return template.render(report=report, picture=picture, width=round(100 * WIDTH), height=round(100 * HEIGHT))
