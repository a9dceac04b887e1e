"""One file per command of `python -m evidence`; see `dassl.commands`."""
