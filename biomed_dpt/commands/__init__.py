"""One file per command of `python -m biomed_dpt`: its first docstring line is its help.

A file has `add_arguments(parser)` and `run(args)`, which returns the exit code or None.
"""
