"""The results of a run: results.json is written, and checked when it is read back; the accuracies in one line."""

import json
import os
import stat
from pathlib import Path

import orjson

from dassl.errors import InputError
from dassl.utils import atomic_path, write_json
from runs.folder import MARKER, RESULTS_FILE
from runs.results_check import check_results

LARGEST = 100 * 2**20  # bytes of a results file
NOT_TESTED = "not tested (TEST.NO_TEST)"

# Keys that earlier versions wrote, and their names today.
_RENAMED = {"learned_parameters": "trainable_parameters"}
_RENAMED_SECONDS = {"runs_side_by_side": "runs_in_stack"}
_RENAMED_METRICS = {"per_class_accuracy": "sensitivity"}


class DamagedError(InputError):
    """A file of a complete run cannot be used."""


def read_results(folder: str | Path) -> dict:
    """The results of a complete run, checked, with today's keys.

    What the schema in `runs.results_check` names has its type and range. Other keys may hold anything. `metrics` is
    empty where the run was not tested; it has numbers of "all", or of "base", "new" or both, and with both of H.

    Raises:
        DamagedError: a file of the run cannot be read, or holds something else.
    """
    try:
        if not os.path.isfile(f"{folder}/{MARKER}"):
            raise ValueError(f"{MARKER} is no file")
        return decode_results(read_file(f"{folder}/{RESULTS_FILE}"))
    except (OSError, ValueError) as error:
        path = f"{folder}/{RESULTS_FILE}"
        raise DamagedError(f"'{path}' cannot be read ({error}); delete the folder to run again") from error


def decode_results(text: bytes) -> dict:
    """What a results file says, checked, with today's keys.

    Raises:
        ValueError: it is no JSON object, or one that is no run's.
    """
    try:
        results = orjson.loads(text)
    except orjson.JSONDecodeError:
        try:
            results = json.loads(text.decode())  # slower, and accepts NaN: the loss of a run that diverged
        except RecursionError as error:
            raise ValueError("it is nested too deeply") from error
    if not isinstance(results, dict):
        raise ValueError("it holds no JSON object")
    _rename(results, _RENAMED)
    if isinstance(results.get("seconds"), dict):
        _rename(results["seconds"], _RENAMED_SECONDS)
    if isinstance(results.get("metrics"), dict):
        for part in results["metrics"].values():
            if isinstance(part, dict):
                _rename(part, _RENAMED_METRICS)
    check_results(results)
    return results


def write_results(folder: Path, results: dict) -> None:
    """Write the results, then the marker."""
    write_json(results, str(folder / RESULTS_FILE))
    with atomic_path(folder / MARKER) as temporary:
        temporary.write_text("")


def read_file(path: str | Path) -> bytes:
    """The content of a file. A FIFO, on which a reader would wait for ever, and a device are refused."""
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    try:
        facts = os.fstat(handle)
        if not stat.S_ISREG(facts.st_mode):
            raise ValueError("it is no file")
        if facts.st_size > LARGEST:
            raise ValueError(f"it has {facts.st_size:,} bytes")
        return os.read(handle, facts.st_size)
    finally:
        os.close(handle)


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
    if not metrics:
        return NOT_TESTED
    if list(metrics) == ["all"]:
        return f"accuracy {metrics['all']['accuracy']:.2f} %"
    parts = [f"{name} {m['accuracy']:.2f} %" for name, m in metrics.items() if isinstance(m, dict)]
    if metrics.get("H") is not None:
        parts.append(f"H {metrics['H']:.2f} %")
    return "accuracy: " + ", ".join(parts)


def _rename(values: dict, names: dict[str, str]) -> None:
    for old, new in names.items():
        if old in values:
            values.setdefault(new, values.pop(old))
