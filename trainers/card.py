"""The model card of a bundle, with the metadata of the Hugging Face hub."""

from collections.abc import Mapping
from typing import Any


def card(about: Mapping[str, Any]) -> str:
    """The text of README.md for the content of bundle.json."""
    lines = ["---", "library_name: biomed-dpt", "pipeline_tag: image-classification", "---", ""]
    lines += [f"# {about['method']} on {about['backbone']['name']}", "", "For research only. Not a medical device.", ""]
    return "\n".join([*lines, f"Classes: {', '.join(about['classes'])}.", ""])
