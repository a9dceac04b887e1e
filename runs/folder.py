"""The folder of a run: the names of its files, whether the run is complete, and the removal of what a run wrote."""

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from dassl.config.yamltext import parse_yaml
from dassl.errors import InputError, OutputError
from dassl.utils import is_temporary, read_json

RESULTS_FILE = "results.json"
CONFIG_FILE = "config.yaml"
LOG_FILE = "log.txt"
CHECKPOINT_FILE = "checkpoint.pth"  # the state from which an interrupted run is resumed
MODEL_FILE = "model.pth"
PREDICTIONS_FILE = "predictions.csv"  # of the test images
BUNDLE_FOLDER = "bundle"
MARKER = "COMPLETE"  # written last; a run without it has no result

_OWN = re.compile(
    r"results\.json|predictions\.csv|config\.yaml|checkpoint\.pth|model\.pth|COMPLETE|log\.txt(-\d{4}(-\d\d){5})?"
)
_OF_BUNDLE = re.compile(r"bundle\.json|model\.safetensors|README\.md")
# In a folder per model, as Dassl's trainers write them; the file "checkpoint" names the newest one.
_OF_MODEL = re.compile(r"model\.pth\.tar-\d+|model-best\.pth\.tar|checkpoint")
_LISTED = 5  # names in a message


def is_complete(folder: str | Path) -> bool:
    return os.path.lexists(f"{folder}/{MARKER}")


def is_started(folder: Path) -> bool:
    """Whether a run that is not complete can be resumed; Dassl's own trainers keep a checkpoint per model."""
    return (folder / CHECKPOINT_FILE).is_file() or any(folder.glob("*/checkpoint"))


def holds_a_run(folder: Path) -> bool:
    """Whether a folder carries the identity of a run of this project.

    That is a config.yaml that names a trainer and a data set, or a results.json that names a method and a protocol. Of
    a damaged run, it is the empty marker beside one of these files.
    """
    config, results = folder / CONFIG_FILE, folder / RESULTS_FILE
    if not (config.is_file() or results.is_file()):
        return False
    marker = folder / MARKER
    if marker.is_file() and marker.stat().st_size == 0:
        return True
    with contextlib.suppress(Exception):  # a file that is not a run's may hold anything
        content = parse_yaml(config.read_text(encoding="utf-8"))
        if content["TRAINER"]["NAME"] and content["DATASET"]["NAME"]:
            return True
    with contextlib.suppress(Exception):
        content = read_json(str(results))
        return bool(content["method"] and content["protocol"])  # type: ignore[index]
    return False


def refuse_other_files(folder: Path) -> None:
    """Refuse a folder in which a run would replace files that are not a run's.

    Raises:
        InputError: with their names.
    """
    written = (CONFIG_FILE, RESULTS_FILE, PREDICTIONS_FILE, MODEL_FILE, MARKER)
    names = [name for name in written if (folder / name).exists()]
    if names and not is_started(folder) and not holds_a_run(folder):
        raise InputError(f"'{folder}' holds {', '.join(names)}, but no run; choose another folder with --output-dir")


def clear_folder(folder: Path) -> None:
    """Remove the files of a run from its folder, and say what was removed and what is kept.

    Only files that a run writes are removed. Symbolic links to folders are not followed. What identifies the run is
    removed last, so that an interrupted removal can be repeated.

    Raises:
        InputError: the folder is a symbolic link, or holds files but no run.
        OutputError: a file cannot be removed.
    """
    if folder.is_symlink():
        raise InputError(f"--overwrite: '{folder}' is a symbolic link; name the folder itself")
    if not any(folder.iterdir()):
        return
    if not holds_a_run(folder):
        raise InputError(f"--overwrite: '{folder}' does not look like a run's folder; it is left alone")
    last = [folder / name for name in (RESULTS_FILE, CONFIG_FILE)]
    files = [path for path in _files_of_run(folder) if path not in last]
    files.sort(key=lambda path: path.name != MARKER)  # without its marker a run has no result
    try:
        for path in [*files, *last]:
            path.unlink(missing_ok=True)
        for path in {path.parent for path in files} - {folder}:
            if not any(path.iterdir()):
                path.rmdir()
    except OSError as error:
        raise OutputError(error.filename or folder, error) from error
    kept = sorted(path.name for path in folder.iterdir())
    more = f" and {len(kept) - _LISTED} more" if len(kept) > _LISTED else ""
    print(
        f"--overwrite: removed the files of the run in '{folder}'"
        + (f"; kept {', '.join(kept[:_LISTED])}{more}" if kept else "")
    )


def remove_unfinished(folder: Path) -> None:
    """Delete the files that a killed process was writing (`dassl.utils.atomic_path`)."""
    of_models = ((path, _OF_MODEL) for path in _folders_of_models(folder))
    for at, of in ((folder, _OWN), (folder / BUNDLE_FOLDER, _OF_BUNDLE), *of_models):
        for path in at.glob(".*.*"):
            if is_temporary(path.name, of) and not path.is_symlink():
                with contextlib.suppress(OSError):
                    path.unlink()


def _files_of_run(folder: Path) -> Iterator[Path]:
    """The files in a folder that a run writes."""
    for path in folder.iterdir():
        if path.is_file() and (_OWN.fullmatch(path.name) or is_temporary(path.name, _OWN)):
            yield path
    bundle = folder / BUNDLE_FOLDER
    if bundle.is_dir() and not bundle.is_symlink():
        for path in bundle.iterdir():
            if path.is_file() and (_OF_BUNDLE.fullmatch(path.name) or is_temporary(path.name, _OF_BUNDLE)):
                yield path
    for of_model in _folders_of_models(folder):
        newest = _newest(of_model)
        for path in of_model.iterdir():
            own = _OF_MODEL.fullmatch(path.name) or is_temporary(path.name, _OF_MODEL) or path.name == newest
            if path.is_file() and own:
                yield path


def _folders_of_models(folder: Path) -> Iterator[Path]:
    """The folders of a run's models: those with a checkpoint of an epoch, or of the best one."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.is_dir() and not path.is_symlink() and (_newest(path) or any(path.glob("model.pth.tar-*"))):
            yield path


def _newest(folder: Path) -> str:
    """The name of the file that `checkpoint` in a folder names; "" where it names none."""
    with contextlib.suppress(OSError, ValueError):
        with open(folder / "checkpoint", encoding="utf-8") as file:
            name = file.readline(256).strip()
        if name == os.path.basename(name) and (folder / name).is_file():
            return name
    return ""
