"""Measures what is computed once against the published way of computing it in every step."""
