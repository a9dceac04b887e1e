"""The report as one HTML page without other files."""

import base64
from pathlib import Path

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from sweep.report.escape import file_name, one_line
from sweep.report.figures import HEIGHT, WIDTH
from sweep.report.tables import Report


def html(report: Report, folder: Path) -> str:
    """The page, with the PNG files of the report's folder embedded."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        finalize=lambda value: one_line(value) if isinstance(value, str) and not isinstance(value, Markup) else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )

    def picture(kind: str, section: str, name: str) -> str:
        return base64.b64encode((folder / kind / section / f"{name}.png").read_bytes()).decode()

    environment.filters["file_name"] = file_name
    template = environment.get_template("page.html.j2")
    return template.render(report=report, picture=picture, width=round(100 * WIDTH), height=round(100 * HEIGHT))
