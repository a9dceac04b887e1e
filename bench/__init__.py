"""Measures features computed once, compared with the published way of computing them in every step."""
