"""The report as one HTML page without other files."""

import base64
from pathlib import Path

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from sweep.report.escape import file_name, one_line
from sweep.report.figures import HEIGHT, WIDTH
from sweep.report.tables import Report

TEMPLATES = Path(__file__).parent


def html(report: Report, folder: Path) -> str:
    """The page, with the PNG files of the report's folder embedded."""

    def picture(kind: str, section: str, name: str) -> str:
        return embedded(folder / kind / section / f"{name}.png")

    template = page_environment().get_template("page.html.j2")
    return template.render(report=report, picture=picture, width=round(100 * WIDTH), height=round(100 * HEIGHT))


def page_environment(templates: Path = TEMPLATES) -> Environment:
    """Reads the templates of a folder, and those that all pages share; everything that is filled in is escaped."""
    environment = Environment(
        loader=FileSystemLoader([templates, TEMPLATES]),
        autoescape=True,
        finalize=lambda value: one_line(value) if isinstance(value, str) and not isinstance(value, Markup) else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["file_name"] = file_name
    return environment


def embedded(picture: Path) -> str:
    """A PNG file as the address of an image."""
    return f"data:image/png;base64,{base64.b64encode(picture.read_bytes()).decode()}"
