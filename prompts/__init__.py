"""The texts of each data set: a clinical template, and sentences that describe each class. Needs no torch."""

from prompts.loader import Prompts, available_prompts, load_prompts
from prompts.text import check_text, filled, template_problem

__all__ = ["Prompts", "available_prompts", "check_text", "filled", "load_prompts", "template_problem"]
