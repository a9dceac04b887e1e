"""Malformed and unusual input for every part that reads any: python -m tests.fuzz --cases 5000 --seed 1"""
