"""Names that come from files, such as that of a data set, in the formats of a report; `dassl.utils.csvtext` has CSV.

Control characters, line ends among them, and marks of the direction of writing become visible escapes in all formats.
"""

import hashlib
import re

from dassl.errors import printable

_LATEX = str.maketrans({
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "[": "{[}", "*": "{*}",  # after \\ they would be its arguments
    "±": r"$\pm$", "–": "--", "λ": r"$\lambda$", "·": r"$\cdot$", "…": r"\dots{}",
})  # fmt: skip
_MARKDOWN = str.maketrans({**{character: f"\\{character}" for character in "\\`|_*[~"}, "<": "&lt;", "&": "&amp;"})
_LONGEST = 100  # characters of a file's name


def one_line(text: object) -> str:
    """Text that stays on one line of a terminal or a page."""
    return printable(str(text), keep="")


def latex(text: str) -> str:
    """Text for LaTeX."""
    return one_line(text).translate(_LATEX)


def markdown(text: str) -> str:
    """Text for Markdown, also in a table."""
    return one_line(text).translate(_MARKDOWN)


def file_name(text: str) -> str:
    """A name that is safe for a file, in a link and as a label: other characters become "_", and a digest is added."""
    kept = re.sub(r"^\.|[^A-Za-z0-9_.+-]", "_", text)[:_LONGEST]
    digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:8]
    return kept if kept == text else f"{kept}_{digest}"
