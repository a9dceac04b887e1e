"""Measures what the method claims: whether a visual prompt moves the attention to lesions, and what else it changes.

docs/EVIDENCE.md describes the commands of `python -m evidence`.
"""
