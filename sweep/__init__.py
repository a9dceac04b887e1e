"""Grids of runs, and the tables made of their results; knows result files and no model."""
