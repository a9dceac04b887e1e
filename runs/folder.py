"""The folder of a run: the names of its files, and whether the run is complete."""

import os
import shutil
from pathlib import Path

from dassl.errors import InputError

RESULTS_FILE = "results.json"
CONFIG_FILE = "config.yaml"
LOG_FILE = "log.txt"
CHECKPOINT_FILE = "checkpoint.pth"  # the state from which an interrupted run is resumed
MARKER = "COMPLETE"  # written last; a run without it has no result


def is_complete(folder: str | Path) -> bool:
    return os.path.lexists(f"{folder}/{MARKER}")


def is_started(folder: Path) -> bool:
    """Whether a run that is not complete can be resumed; Dassl's own trainers keep a checkpoint per model."""
    return (folder / CHECKPOINT_FILE).is_file() or any(folder.glob("*/checkpoint"))


def clear_folder(folder: Path) -> None:
    """Delete the folder of a run.

    Raises:
        InputError: the folder holds something else.
    """
    known = (RESULTS_FILE, MARKER, CONFIG_FILE, LOG_FILE)
    if not any((folder / name).exists() for name in known) and any(folder.iterdir()):
        raise InputError(f"--overwrite: '{folder}' does not look like a run's folder; it is left alone")
    shutil.rmtree(folder)
