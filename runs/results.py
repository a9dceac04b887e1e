"""The results of a run: writing and reading results.json, and the accuracies in one line."""

import json
from pathlib import Path

import orjson

from dassl.errors import InputError
from dassl.utils import atomic_path, write_json
from runs.folder import MARKER, RESULTS_FILE

# Keys that earlier versions wrote, and their names today.
_RENAMED = {"learned_parameters": "trainable_parameters"}
_RENAMED_SECONDS = {"runs_side_by_side": "runs_in_stack"}


def read_results(folder: str | Path) -> dict:
    """The results of a complete run, with today's keys.

    Raises:
        InputError: the file cannot be read or holds no results.
    """
    path = f"{folder}/{RESULTS_FILE}"
    try:
        with open(path, "rb") as file:
            return decode_results(file.read())
    except (OSError, ValueError) as error:
        raise InputError(f"'{path}' cannot be read ({error}); delete the folder to run again") from error


def decode_results(text: bytes) -> dict:
    """What a results file says, with today's keys; a ValueError where it is no JSON object."""
    try:
        results = orjson.loads(text)
    except orjson.JSONDecodeError:
        results = json.loads(text)  # slower, and accepts NaN: the loss of a run that diverged
    if not isinstance(results, dict):
        raise ValueError("it holds no JSON object")
    _rename(results, _RENAMED)
    if isinstance(results.get("seconds"), dict):
        _rename(results["seconds"], _RENAMED_SECONDS)
    return results


def write_results(folder: Path, results: dict) -> None:
    """Write the results, then the marker."""
    write_json(results, str(folder / RESULTS_FILE))
    with atomic_path(folder / MARKER) as temporary:
        temporary.write_text("")


def with_harmonic_mean(metrics: dict[str, dict]) -> dict:
    """Metrics by the classes that were tested; base and new classes together add H, of their accuracies."""
    if {"base", "new"} <= metrics.keys():
        return {**metrics, "H": harmonic(metrics["base"]["accuracy"], metrics["new"]["accuracy"])}
    return metrics


def harmonic(base: float | None, new: float | None) -> float | None:
    """H = 2·b·n / (b + n), 0 where both are 0; None where one is missing."""
    if base is None or new is None:
        return None
    return 2 * base * new / (base + new) if base + new else 0.0


def headline(results: dict) -> str:
    """The accuracies in one line."""
    metrics = results["metrics"]
    if list(metrics) == ["all"]:
        return f"accuracy {metrics['all']['accuracy']:.2f} %"
    parts = [f"{name} {m['accuracy']:.2f} %" for name, m in metrics.items() if isinstance(m, dict)]
    if "H" in metrics:
        parts.append(f"H {metrics['H']:.2f} %")
    return "accuracy: " + ", ".join(parts)


def _rename(values: dict, names: dict[str, str]) -> None:
    for old, new in names.items():
        if old in values:
            values.setdefault(new, values.pop(old))
