"""Sentences that describe classes: checked, and drafted for classes of one's own."""
