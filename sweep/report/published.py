"""The published averages, with the source of each number."""

import json
from functools import lru_cache
from pathlib import Path


@lru_cache
def published() -> dict:
    """The content of published.json."""
    return json.loads((Path(__file__).parent / "published.json").read_text(encoding="utf-8"))


def one_new_class() -> str:
    """The data set whose new classes are a single one, so that every image of it is classified correctly."""
    return published()["one_new_class"]
