"""Text knowledge as data: per data set a clinical template and sentences per class; needs no torch."""

from prompts.loader import Prompts, available_prompts, load_prompts

__all__ = ["Prompts", "available_prompts", "load_prompts"]
