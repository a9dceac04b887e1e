"""Names that come from files, such as that of a data set, in the formats of a report.

Control characters, line ends among them, and marks of the direction of writing become visible escapes in all formats.
"""

from dassl.utils.csvtext import csv_cell, file_name, one_line
from dassl.utils.markdown import markdown

__all__ = ["csv_cell", "file_name", "latex", "markdown", "one_line"]

_LATEX = str.maketrans({
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "[": "{[}", "*": "{*}",  # after \\ they would be its arguments
    "±": r"$\pm$", "–": "--", "λ": r"$\lambda$", "·": r"$\cdot$", "…": r"\dots{}",
})  # fmt: skip


def latex(text: str) -> str:
    """Text for LaTeX."""
    return one_line(text).translate(_LATEX)
