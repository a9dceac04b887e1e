"""A tuned model on disk: what was learned and what prediction needs, in safetensors and JSON.

A bundle is a folder with model.safetensors, bundle.json and a model card, README.md. With the weights of its backbone
it predicts, without training images, prompt files or configuration files. docs/BUNDLES.md describes the format.
"""

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from dassl.config.defaults import Input
from dassl.config.schema import parse
from dassl.errors import InputError, OutputError, first_line, shown, unknown_name
from dassl.utils import atomic_path
from dassl.utils.tensors import digest_of, why_unusable
from trainers.calibration import KINDS, images_needed
from trainers.precision import NAMES as PRECISIONS

FORMAT = 1
FOLDER = "bundle"  # in a run's folder
WEIGHTS_FILE = "model.safetensors"
ABOUT_FILE = "bundle.json"  # written last
CARD_FILE = "README.md"
FILES = (WEIGHTS_FILE, ABOUT_FILE, CARD_FILE)
TEXT = "text_features"  # the tensor with the text features (C, D) of the classes
LEARNED = "method."  # begins the names of the method's own tensors
LARGEST = 100 * 2**20  # bytes of bundle.json
UNCALIBRATED = "uncalibrated"


@dataclass(frozen=True)
class Bundle:
    """A tuned model, as it was written or read.

    Attributes:
        about: the content of bundle.json; `read_bundle` has checked what the properties below read.
        tensors: the method's `state_dict`, with names that begin with "method.", and "text_features" (C, D), which are
            missing where every image has text features of its own.
        where: the folder that it was read from, for messages.
    """

    about: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    where: str = ""

    @property
    def method(self) -> str:
        """The registered name of the method."""
        return self.about["method"]

    @property
    def backbone(self) -> str:
        """The registered name of the backbone."""
        return self.about["backbone"]["name"]

    @property
    def classnames(self) -> list[str]:
        """The names of the C classes, in label order."""
        return list(self.about["classes"])

    @property
    def text_features(self) -> Tensor | None:
        """The text features (C, D) of the classes; None where every image has its own."""
        return self.tensors.get(TEXT)

    @property
    def learned(self) -> dict[str, Tensor]:
        """The method's `state_dict`."""
        return {name.removeprefix(LEARNED): t for name, t in self.tensors.items() if name.startswith(LEARNED)}

    @property
    def calibration(self) -> dict[str, Any]:
        """How probabilities are calibrated: "temperature", "fitted_on" (or "uncalibrated") and what else was stored."""
        return dict(self.about["calibration"])

    @property
    def temperature(self) -> float:
        """Logits are divided by it; 1 where the bundle is not calibrated."""
        return float(self.calibration["temperature"])


def read_bundle(path: str | Path) -> Bundle:
    """Read a bundle and check it.

    Args:
        path: its folder, or the folder of a run that left one.

    Raises:
        InputError: there is none, it is of another format version, was changed or damaged, or does not fit together.
    """
    folder = find_bundle(Path(path))
    try:
        if (folder / ABOUT_FILE).stat().st_size > LARGEST:
            raise ValueError(f"it has more than {LARGEST:,} bytes")
        about = json.loads((folder / ABOUT_FILE).read_text(encoding="utf-8"))
        _check_about(about)
    except InputError as error:
        raise InputError(f"'{folder / ABOUT_FILE}': {error}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"'{folder / ABOUT_FILE}' cannot be read ({first_line(error)}); make or fetch the bundle again"
        ) from error
    bundle = Bundle(about, _read_tensors(folder / WEIGHTS_FILE), str(folder))
    if about["digest"] != bundle_digest(about, bundle.tensors):
        raise InputError(f"the bundle '{folder}' was changed or damaged: its digest is wrong; make or fetch it again")
    text = bundle.text_features
    if text is not None and (text.dim() != 2 or len(text) != len(bundle.classnames)):
        raise InputError(f"the bundle '{folder}' has text features of shape {tuple(text.shape)} for its classes")
    return bundle


def find_bundle(path: Path) -> Path:
    """The folder of a bundle, from that folder or from the folder of the run that left it.

    Raises:
        InputError: there is none.
    """
    for folder in (path, path / FOLDER):
        if (folder / ABOUT_FILE).is_file():
            return folder
    if not path.is_dir():
        raise InputError(f"the bundle '{path}' is no folder; name a run's folder, or the folder of a bundle")
    finished = " (a run leaves a bundle when it is complete)" if (path / "config.yaml").is_file() else ""
    raise InputError(f"no bundle in '{path}'{finished}: neither {ABOUT_FILE} nor {FOLDER}/{ABOUT_FILE} is there")


def write_bundle(folder: Path, bundle: Bundle, card: str) -> Bundle:
    """Write a bundle, bundle.json last; returns it with its digest.

    Args:
        folder: created if it is missing; a bundle in it is replaced.
        bundle: its `about` needs no "format" and no "digest".
        card: the text of README.md.

    Raises:
        InputError: the folder holds other files.
        OutputError: it cannot be written.
    """
    from safetensors.torch import save_file

    refuse_other_files(folder)
    tensors = {name: value.detach().cpu().contiguous() for name, value in bundle.tensors.items()}
    about = {"format": FORMAT, **bundle.about}
    about["digest"] = bundle_digest(about, tensors)
    with contextlib.ExitStack() as files:  # the last one that is entered is the first one that gets its name
        about_file, card_file, weights_file = (
            files.enter_context(atomic_path(folder / name)) for name in (ABOUT_FILE, CARD_FILE, WEIGHTS_FILE)
        )
        save_file(tensors, weights_file)
        card_file.write_text(card, encoding="utf-8")
        about_file.write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
        try:
            (folder / ABOUT_FILE).unlink(missing_ok=True)  # without it, a half-replaced bundle is none
        except OSError as error:
            raise OutputError(folder, error) from error
    return Bundle(about, tensors, str(folder))


def refuse_other_files(folder: Path) -> None:
    """Refuse a folder in which a bundle would replace files that are not a bundle's.

    Raises:
        InputError: it holds files, and no bundle; or it is no folder.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"'{folder}' is a file; name a folder for the bundle")
    if folder.is_dir() and not (folder / ABOUT_FILE).is_file():
        names = sorted(path.name for path in folder.iterdir() if path.name not in FILES and path.name[0] != ".")
        if names:
            raise InputError(f"'{folder}' holds {shown(names)} and no bundle; name a new folder")


def bundle_digest(about: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """A hash of everything in a bundle but its card."""
    content = {name: value for name, value in about.items() if name != "digest"}
    return digest_of({"about": json.dumps(content, sort_keys=True), "tensors": dict(sorted(tensors.items()))})


def _read_tensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(path)
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        raise InputError(f"'{path}' cannot be read ({first_line(error)}); make or fetch the bundle again") from error
    for name, value in tensors.items():
        if problem := why_unusable(value):
            raise InputError(f"'{path}' cannot be used: '{name}' {problem}")
    return tensors


def _check_about(about: Any) -> None:
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
    classes = about.get("classes")
    _require(classes, "classes", list)
    if (
        not classes
        or not all(isinstance(name, str) and name.strip() for name in classes)
        or len({*classes}) < len(classes)
    ):
        raise ValueError(f"classes: {shown(classes)} is no list of different names")
    if about.get("template") is not None:
        _require(about["template"], "template", str)
    for key in ("name", "digest", "text_padding"):
        _require(about["backbone"].get(key), f"backbone: {key}", str)
    for key in ("features", "method"):
        if about["precision"].get(key) not in PRECISIONS:
            raise unknown_name(f"precision of {key}", str(about["precision"].get(key)), PRECISIONS)
    parse(Input, about["preprocessing"], "preprocessing")
    calibration = about["calibration"]
    _require(calibration.get("fitted_on"), "calibration: fitted_on", str)
    temperature = calibration.get("temperature")
    if type(temperature) not in (int, float) or not 0 < temperature < 1e6:
        raise ValueError(f"calibration: the temperature is {shown(temperature)}")
    if calibration.get("conformal") is not None:
        _check_conformal(calibration["conformal"])
    for key in ("training_images", "validation_images"):
        digests = about["provenance"].get(key, [])
        if not isinstance(digests, list) or not all(isinstance(digest, str) for digest in digests):
            raise ValueError(f"provenance: {key} is no list of digests")


def _check_conformal(conformal: Any) -> None:
    _require(conformal, "calibration: conformal", dict)
    if conformal.get("kind") not in KINDS:
        raise unknown_name("kind of prediction sets", str(conformal.get("kind")), KINDS)
    for key in ("coverage", "threshold"):
        value = conformal.get(key)
        if type(value) not in (int, float) or not 0 <= value < 1.001:  # a sum of probabilities may be rounded up
            raise ValueError(f"calibration: conformal: the {key} is {shown(value)}")
    images, needed = conformal.get("images"), images_needed(conformal["coverage"])
    if type(images) is not int or images < needed:
        raise ValueError(f"calibration: conformal: images: {shown(images)}, and {needed} are needed")


def _require(value: Any, key: str, kind: type) -> None:
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(f"{key}: {shown(value)} is no {kind.__name__}")


def classes_of(names: Sequence[str]) -> list[str]:
    """Class names as given on a command line or by a caller, checked.

    Raises:
        InputError: none, an empty one, or one that stands in the list more than once.
    """
    found = [str(name).strip() for name in names]
    if not found or not all(found):
        raise InputError(f"the class names {shown(list(names))} hold an empty one; name at least one class")
    if len({*found}) < len(found):
        raise InputError(f"the class names {shown(found)} hold one more than once")
    return found
