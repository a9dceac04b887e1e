"""The settings of a method, as in `dassl.config.schema`; methods import their declarations from here."""

from collections.abc import Mapping
from typing import Any

from dassl.config.schema import Settings, inherited, setting
from prompts import template_problem

__all__ = ["VERSION", "Settings", "TemplateConfig", "in_todays_words", "inherited", "setting"]
VERSION = 2  # of the meaning of stored settings


class TemplateConfig(Settings):
    """The setting of methods that use the text features of one sentence per class."""

    TEMPLATE: str = setting("a photo of a {}.", "the sentence; {} stands for the class name", check=template_problem)


def in_todays_words(stored: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a method that were stored with version 1 of their meaning, as today's settings.

    A method that starts from the template by default did so for CTX_INIT "" too, which stands for random values today.

    Args:
        stored: the stored settings.
        defaults: today's defaults of the method.
    """
    default = defaults.get("CTX_INIT")
    return {**stored, "CTX_INIT": default} if stored.get("CTX_INIT") == "" and default == "template" else dict(stored)
