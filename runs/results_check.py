"""The schema of results.json: what a report reads has its type and range."""

import re
from collections.abc import Callable
from typing import Any

from dassl.errors import shown

METRICS = ("accuracy", "macro_f1", "ece", "auroc", "balanced_accuracy")  # in percent
PER_CLASS = ("sensitivity", "specificity")  # in percent, by class
PARTS = ("all", "base", "new")  # of the classes
LONGEST = 1e10  # seconds
MOST = 2**53  # images in a row of a confusion matrix
VARIANT = re.compile(r"[A-Za-z0-9_-]{1,40}")  # it becomes part of file names
_NUMBERS = {int, float}


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
        if (brier := values.get("brier")) is not None:
            _number("brier", brier, 2)
        if (interval := values.get("auroc_interval")) is not None:
            _interval("auroc_interval", interval)
        for metric in PER_CLASS:
            if of_classes := values.get(metric):
                _object(metric, of_classes)
                for value in of_classes.values():
                    if value is not None and not (type(value) is float and 0 <= value <= 100):
                        _percentage(metric, value)
        if (counts := values.get("confusion_matrix")) is not None:
            _matrix("confusion_matrix", counts)


def _number(name: str, value: Any, most: float) -> None:
    if type(value) not in _NUMBERS or not 0 <= value <= most:
        raise ValueError(f"{name}: {shown(value)} is no number from 0 to {most}")


def _interval(name: str, bounds: Any) -> None:
    _list(name, bounds)
    if len(bounds) != 2:
        raise ValueError(f"{name}: {shown(bounds)} is no interval")
    for bound in bounds:
        _percentage(name, bound)
    if bounds[0] > bounds[1]:
        raise ValueError(f"{name}: {shown(bounds)} is no interval")


def _matrix(name: str, rows: Any) -> None:
    """A square of counts; of fractions, where version 0.1.0 was asked for it (TEST.COMPUTE_CMAT)."""
    _list(name, rows)
    for row in rows:
        _list(name, row)
        # The sum of numbers of which one is NaN or infinite is not within bounds either.
        if len(row) != len(rows) or not _NUMBERS.issuperset(map(type, row)) or min(row) < 0 or not sum(row) <= MOST:
            raise ValueError(f"{name}: {shown(row)} is no row of {len(rows)} counts")


def _losses(name: str, values: Any) -> None:
    _list(name, values)
    if not _NUMBERS.issuperset(map(type, values)):  # NaN is a number here: the loss of a run that diverged
        raise ValueError(f"{name}: it holds something else than numbers")


def _memory(name: str, values: Any) -> None:
    _object(name, values)
    _integer(0)(f"{name}: peak_bytes", values.get("peak_bytes", 0))
    if values.get("of", "process") not in ("process", "GPU"):
        raise ValueError(f"{name}: {shown(values['of'])} has no memory")


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
    "memory": _memory,
    "environment": _described("device", "torch", "git_commit"),
    "imported": _described("from"),
}
