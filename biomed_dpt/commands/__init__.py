"""One file per command of `python -m biomed_dpt`; see `dassl.commands`."""
