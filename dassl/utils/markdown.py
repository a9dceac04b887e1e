"""Text for Markdown, also in a table."""

from dassl.errors import printable

_ESCAPES = str.maketrans({**{character: f"\\{character}" for character in "\\`|_*[~"}, "<": "&lt;", "&": "&amp;"})


def markdown(text: object) -> str:
    """A value as text that Markdown shows as it is, on one line; control characters become visible escapes."""
    return printable(str(text), keep="").translate(_ESCAPES)
