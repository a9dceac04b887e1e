"""Names that come from files, such as that of a data set, in the formats of a report.

Control characters, line ends among them, and marks of the direction of writing become visible escapes in all formats.
"""

from dassl.utils.csvtext import csv_cell, file_name, one_line

__all__ = ["csv_cell", "file_name", "latex", "markdown", "one_line"]

_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "[": "{[}", "*": "{*}",  # after \\ they would be its arguments
    "±": r"$\pm$", "–": "--", "λ": r"$\lambda$", "·": r"$\cdot$", "…": r"\dots{}",
}  # fmt: skip
_MARKDOWN = {**{character: f"\\{character}" for character in "\\`|_*[~"}, "<": "&lt;", "&": "&amp;"}


def latex(text: str) -> str:
    """Text for LaTeX."""
    return "".join(_LATEX.get(character, character) for character in one_line(text))


def markdown(text: str) -> str:
    """Text for Markdown, also in a table."""
    return "".join(_MARKDOWN.get(character, character) for character in one_line(text))
