"""The texts of each data set: a clinical template, and sentences that describe each class. Needs no torch."""

from prompts.loader import Prompts, available_prompts, load_prompts

__all__ = ["Prompts", "available_prompts", "load_prompts"]
