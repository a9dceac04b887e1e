"""The results of a run: results.json is written, and checked when it is read back; the accuracies in one line."""

import json
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from dassl.errors import InputError, shown
from dassl.utils import atomic_path, write_json
from runs.folder import MARKER, RESULTS_FILE

METRICS = ("accuracy", "macro_f1", "ece", "auroc")  # in percent
PARTS = ("all", "base", "new")  # of the classes
LARGEST = 100 * 2**20  # bytes of a results file
LONGEST = 1e10  # seconds
NOT_TESTED = "not tested (TEST.NO_TEST)"
VARIANT = re.compile(r"[A-Za-z0-9_-]{1,40}")  # it becomes part of file names

# Keys that earlier versions wrote, and their names today.
_RENAMED = {"learned_parameters": "trainable_parameters"}
_RENAMED_SECONDS = {"runs_side_by_side": "runs_in_stack"}
_NUMBERS = {int, float}


class DamagedError(InputError):
    """A file of a complete run cannot be used."""


def read_results(folder: str | Path) -> dict:
    """The results of a complete run, checked, with today's keys.

    What the schema below names has its type and range. Other keys may hold anything. `metrics` is empty where the run
    was not tested; it has numbers of "all", or of "base", "new" or both, and with both of H.

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
    check_results(results)
    return results


def write_results(folder: Path, results: dict) -> None:
    """Write the results, then the marker."""
    write_json(results, str(folder / RESULTS_FILE))
    with atomic_path(folder / MARKER) as temporary:
        temporary.write_text("")


def check_results(results: dict) -> None:
    """Refuse results that have a missing key, a wrong type or an impossible number.

    Raises:
        ValueError: with the key and the reason.
    """
    for name, check in _SCHEMA.items():
        value = results.get(name)
        if value is not None:
            check(name, value)
        elif name in _REQUIRED:
            raise ValueError(f"'{name}' is missing")
    if results.get("fold") and results["fold"] > results.get("folds", 0):
        raise ValueError(f"fold is {results['fold']} of {results.get('folds', 0)}")


def _is(kind: type, what: str) -> Callable[[str, Any], None]:
    def check(name: str, value: Any) -> None:
        if type(value) is not kind:
            raise ValueError(f"{name}: {shown(value)} is no {what}")

    return check


_text, _object, _list = _is(str, "text"), _is(dict, "object"), _is(list, "list")


def _integer(least: int, most: int = 2**53, what: str = "") -> Callable[[str, Any], None]:
    def check(name: str, value: Any) -> None:
        if type(value) is not int or not least <= value <= most:
            raise ValueError(f"{name}: {shown(value)} is no {what or f'integer from {least}'}")

    return check


def _percentage(name: str, value: Any) -> None:
    if type(value) not in _NUMBERS or not 0 <= value <= 100:  # a comparison with NaN is false
        raise ValueError(f"{name}: {shown(value)} is no percentage")


def _variant(name: str, value: Any) -> None:
    _text(name, value)
    if not VARIANT.fullmatch(value):
        raise ValueError(f"{shown(value)} is no name of a variant")


def _metrics(name: str, parts: Any) -> None:
    _object(name, parts)
    for part, values in parts.items():
        if part == "H":
            if values is not None:
                _percentage("H", values)
            continue
        if part not in PARTS:
            raise ValueError(f"{name}: {shown(part)} is no part of the classes")
        _object(part, values)
        if values.get("accuracy") is None:
            raise ValueError(f"an accuracy is missing, of the part '{part}'")
        for metric in METRICS:
            if (value := values.get(metric)) is not None:
                _percentage(metric, value)
        if of_classes := values.get("per_class_accuracy"):
            _object("per_class_accuracy", of_classes)
            for value in of_classes.values():
                if value is not None and not (type(value) is float and 0 <= value <= 100):
                    _percentage("per_class_accuracy", value)


def _losses(name: str, values: Any) -> None:
    _list(name, values)
    if not _NUMBERS.issuperset(map(type, values)):  # NaN is a number here: the loss of a run that diverged
        raise ValueError(f"{name}: it holds something else than numbers")


def _seconds(name: str, values: Any) -> None:
    _object(name, values)
    for key in ("build", "train_and_test"):
        value = values.get(key, 0)
        if type(value) not in _NUMBERS or not 0 <= value <= LONGEST:
            raise ValueError(f"{name}: {key} is {shown(value)}")
    runs = values.get("runs_in_stack", 1)
    if type(runs) is not int or runs < 1:
        raise ValueError(f"{name}: runs_in_stack is {shown(runs)}")


def _calibration(name: str, values: Any) -> None:
    _described("fitted_on")(name, values)
    temperature = values.get("temperature")
    if type(temperature) not in _NUMBERS or not 0 < temperature < float("inf"):
        raise ValueError(f"{name}: the temperature is {shown(temperature)}")


def _described(*texts: str) -> Callable[[str, Any], None]:
    """An object some of whose values are text, or null."""

    def check(name: str, values: Any) -> None:
        _object(name, values)
        for key in texts:
            if (value := values.get(key)) is not None:
                _text(f"{name}: {key}", value)

    return check


_REQUIRED = {"protocol", "dataset", "backbone", "method", "shots", "seed", "metrics"}
_SCHEMA: dict[str, Callable[[str, Any], None]] = {
    "protocol": _text,
    "dataset": _text,
    "backbone": _text,
    "method": _text,
    "shots": _integer(-1),
    "seed": _integer(-1),
    "fold": _integer(0),
    "folds": _integer(0),
    "variant": _variant,
    "metrics": _metrics,
    "trainable_parameters": _integer(0, what="number of parameters"),
    "settings_digest": _text,
    "split": _described("digest"),
    "prompts": _described("digest"),
    "loss_per_epoch": _losses,
    "seconds": _seconds,
    "calibration": _calibration,
    "environment": _described("device", "torch", "git_commit"),
    "imported": _described("from"),
}


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
