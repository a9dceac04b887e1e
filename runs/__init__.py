"""One run: its name, folder, lock and settings, how it is carried out, and its results. Sweeps build on this."""
