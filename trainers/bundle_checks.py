"""Checks of bundle.json: everything that prediction reads has the form it needs."""

from typing import Any

from dassl.config.defaults import Input
from dassl.config.schema import parse
from dassl.errors import InputError, shown, unknown_name
from prompts import check_text
from trainers.calibration import KINDS, images_needed
from trainers.precision import NAMES as PRECISIONS
from trainers.settings import VERSION

FORMAT = 1
PREPROCESSING = ("SIZE", "INTERPOLATION", "PIXEL_MEAN", "PIXEL_STD", "TRANSFORMS")
READING = ("DEPTH", "FRAMES", "ORIENTATION", "MAX_PIXELS")  # how a file becomes a picture
PADDINGS = ("longest", "context")


def check_about(about: Any) -> None:
    """Refuse a bundle.json in which something that prediction reads has another form.

    Raises:
        InputError: another format version.
        ValueError: anything else, with the key and the reason.
    """
    _require(about, "the file", dict)
    version = about.get("format")
    if version != FORMAT:
        raise InputError(
            f"it has format {shown(version)}, this program reads format {FORMAT}; use another version of it"
        )
    for key in ("method", "digest"):
        _require(about.get(key), key, str)
    for key in ("settings", "preprocessing", "precision", "backbone", "calibration", "provenance"):
        _require(about.get(key), key, dict)
    _require(about.get("settings_version"), "settings_version", int)
    if not 1 <= about["settings_version"] <= VERSION:
        raise InputError(
            f"its settings have version {about['settings_version']}, this program reads versions up to {VERSION}; use "
            "another version of it"
        )
    _check_classes(about.get("classes"))
    if about.get("template") is not None:
        _require(about["template"], "template", str)
    for key in ("name", "digest", "text_padding"):
        _require(about["backbone"].get(key), f"backbone: {key}", str)
    if about["backbone"]["text_padding"] not in PADDINGS:
        raise unknown_name("text_padding", about["backbone"]["text_padding"], PADDINGS)
    for key in ("features", "method"):
        if about["precision"].get(key) not in PRECISIONS:
            raise unknown_name(f"precision of {key}", str(about["precision"].get(key)), PRECISIONS)
    if differing := {*PREPROCESSING, *READING} ^ {*about["preprocessing"]}:
        raise ValueError(f"preprocessing: the keys {shown(sorted(differing))} are missing or unknown")
    parse(Input, about["preprocessing"], "preprocessing")
    _check_calibration(about["calibration"])
    for key in ("training_images", "validation_images"):
        digests = about["provenance"].get(key, [])
        if not isinstance(digests, list) or not all(isinstance(digest, str) for digest in digests):
            raise ValueError(f"provenance: {key} is no list of digests")


def _check_classes(classes: Any) -> None:
    _require(classes, "classes", list)
    for name in classes:
        _require(name, "classes", str)
        check_text(name, f"the class name {shown(name)}")
    if not classes or len({*classes}) < len(classes):
        raise ValueError(f"classes: {shown(classes)} is no list of different names")


def _check_calibration(calibration: dict[str, Any]) -> None:
    _require(calibration.get("fitted_on"), "calibration: fitted_on", str)
    temperature: Any = calibration.get("temperature")
    if type(temperature) not in (int, float) or not 1e-6 < temperature < 1e6:
        raise ValueError(f"calibration: the temperature is {shown(temperature)}")
    if calibration.get("conformal") is not None:
        _check_conformal(calibration["conformal"])


def _check_conformal(conformal: Any) -> None:
    _require(conformal, "calibration: conformal", dict)
    if conformal.get("kind") not in KINDS:
        raise unknown_name("kind of prediction sets", str(conformal.get("kind")), KINDS)
    for key in ("coverage", "threshold"):
        value: Any = conformal.get(key)
        if type(value) not in (int, float) or not 0 <= value < 1.001:  # a sum of probabilities may be rounded up
            raise ValueError(f"calibration: conformal: the {key} is {shown(value)}")
    images, needed = conformal.get("images"), images_needed(conformal["coverage"])
    if type(images) is not int or images < needed:
        raise ValueError(f"calibration: conformal: images: {shown(images)}, and {needed} are needed")


def _require(value: Any, key: str, kind: type) -> None:
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(f"{key}: {shown(value)} is no {kind.__name__}")
