"""A tuned model on disk: what was learned and what prediction needs, in safetensors and JSON.

A bundle is a folder with model.safetensors, bundle.json and a model card, README.md. With the weights of its backbone
it predicts, without training images, prompt files or configuration files. docs/BUNDLES.md describes the format.
"""

import contextlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from dassl.errors import InputError, OutputError, first_line, shown
from dassl.utils import atomic_path
from dassl.utils.tensors import digest_of, why_unusable
from trainers.bundle_checks import FORMAT, check_about

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
        check_about(about)
        bundle = Bundle(about, _read_tensors(folder / WEIGHTS_FILE), str(folder))
        digest = bundle_digest(about, bundle.tensors)
    except InputError as error:
        raise InputError(f"the bundle '{folder}' cannot be used: {error}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"'{folder / ABOUT_FILE}' cannot be read ({first_line(error)}); make or fetch the bundle again"
        ) from error
    if about["digest"] != digest:
        raise InputError(f"the bundle '{folder}' was changed or damaged: its digest is wrong; make or fetch it again")
    text = bundle.text_features
    if text is not None and (text.dim() != 2 or len(text) != len(bundle.classnames) or not text.is_floating_point()):
        raise InputError(
            f"the bundle '{folder}' has text features of shape {tuple(text.shape)} and type {text.dtype} for "
            f"{len(bundle.classnames)} classes"
        )
    return bundle


def find_bundle(path: Path) -> Path:
    """The folder of a bundle, from that folder or from the folder of the run that left it.

    Raises:
        InputError: there is none.
    """
    for folder in (path, path / FOLDER):
        if os.path.isfile(folder / ABOUT_FILE):  # where a Path raises, for names that are too long, this is False
            return folder
    if not os.path.isdir(path):
        raise InputError(f"the bundle '{path}' is no folder; name a run's folder, or the folder of a bundle")
    finished = " (a run leaves a bundle when it is complete)" if os.path.isfile(path / "config.yaml") else ""
    raise InputError(f"no bundle in '{path}'{finished}: neither {ABOUT_FILE} nor {FOLDER}/{ABOUT_FILE} is there")


def write_bundle(folder: Path, bundle: Bundle, card: str) -> Bundle:
    """Write a bundle; returns it with its digest.

    All files are written under other names first, so that a full disk leaves an earlier bundle as it was. bundle.json
    takes its place last.

    Args:
        folder: created if it is missing; a bundle in it is replaced.
        bundle: its `about` needs no "format" and no "digest".
        card: the text of README.md.

    Raises:
        InputError: the folder holds other files.
        OutputError: it cannot be written.
    """
    from safetensors.torch import save

    refuse_other_files(folder)
    tensors = {name: value.detach().cpu().contiguous() for name, value in bundle.tensors.items()}
    about = {"format": FORMAT, **bundle.about}
    about["digest"] = bundle_digest(about, tensors)
    with contextlib.ExitStack() as files:  # closes the last one first
        about_file = files.enter_context(atomic_path(folder / ABOUT_FILE))
        card_file = files.enter_context(atomic_path(folder / CARD_FILE))
        weights_file = files.enter_context(atomic_path(folder / WEIGHTS_FILE))
        weights_file.write_bytes(save(tensors))
        card_file.write_text(card, encoding="utf-8")
        about_file.write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
        _remove(folder / ABOUT_FILE)  # without it, a half-replaced bundle is none
    return Bundle(about, tensors, str(folder))


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(path, error) from error


def refuse_other_files(folder: Path) -> None:
    """Refuse a folder in which a bundle would replace files that are not a bundle's.

    Raises:
        InputError: it holds files, and no bundle; or it is no folder.
        OutputError: it cannot be read.
    """
    if os.path.exists(folder) and not os.path.isdir(folder):
        raise InputError(f"'{folder}' is a file; name a folder for the bundle")
    if os.path.isdir(folder) and not os.path.isfile(folder / ABOUT_FILE):
        try:
            names = sorted(name for name in os.listdir(folder) if name not in FILES and name[0] != ".")
        except OSError as error:
            raise OutputError(folder, error) from error
        if names:
            raise InputError(f"'{folder}' holds {shown(names)} and no bundle; name a new folder")


def bundle_digest(about: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """A hash of everything in a bundle but its card."""
    content = {name: value for name, value in about.items() if name != "digest"}
    return digest_of({"about": json.dumps(content, sort_keys=True), "tensors": dict(sorted(tensors.items()))})


def _read_tensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not os.path.isfile(path):  # opening a pipe would never return
        raise InputError(f"'{path}' is missing; make or fetch the bundle again")
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError, ValueError, KeyError, RuntimeError) as error:
        raise InputError(f"'{path}' cannot be read ({first_line(error)}); make or fetch the bundle again") from error
    for name, value in tensors.items():
        if problem := _why_no_tensor_of_a_bundle(name, value):
            raise InputError(f"'{path}': {shown(name)} {problem}; make or fetch the bundle again")
    return tensors


def _why_no_tensor_of_a_bundle(name: str, value: Tensor) -> str:
    if name != TEXT and not name.startswith(LEARNED):
        return f"is no name of a tensor in a bundle ('{TEXT}', or '{LEARNED}' and a name)"
    if not value.numel():  # its sizes may be huge
        return "holds no numbers"
    return why_unusable(value)


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
