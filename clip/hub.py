"""Find a model's files in a local folder, in the hub's cache or on the hub, and read weights without unpickling."""

import contextlib
import json
import re
import shlex
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from clip.checksum import verify
from dassl.errors import InputError, first_line, shown
from dassl.utils.tensors import why_not_fitting

WHAT_TO_DO = "download the file again, or choose the backbone that it belongs to"
LARGEST, MOST_LAYERS = 10_000_000, 1000  # sizes in the description of a model
LAYERS = re.compile("layers|depth|groups|heads")
WEIGHT_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")


@dataclass(frozen=True)
class Source:
    """The files of a model in a repository on the hub.

    Attributes:
        repository: the id of the repository.
        files: names of the required files. A tuple holds alternative names; the first one that exists is used.
        dataset: whether the repository is of type "dataset".
    """

    repository: str
    files: tuple[str | tuple[str, ...], ...]
    dataset: bool = False

    def alternatives(self) -> list[tuple[str, ...]]:
        """Return the alternative names of each required file."""
        return [(names,) if isinstance(names, str) else names for names in self.files]

    def how_to_get(self) -> str:
        """Return the instructions to download the files by hand, for error messages."""
        arguments = self.repository
        if self.dataset:
            # A data set's repository may be large: name the files instead of downloading all of it.
            arguments = f"--repo-type dataset {arguments} {shlex.join(names[0] for names in self.alternatives())}"
        return (
            f"On a machine with a network: hf download {arguments} --local-dir FOLDER; "
            "then set MODEL.BACKBONE.PATH to that folder."
        )


def find_files(path: str, source: Source) -> list[Path]:
    """Find the files of a model, one for each entry of `source.files`.

    Args:
        path: a local folder; "" to use the hub's cache and to download what it lacks. HF_HUB_OFFLINE=1 is respected.
        source: the files and the repository they come from.

    Raises:
        InputError: files are missing or damaged. The message names the folder or repository and how to get the files.
    """
    found = _in_folder(Path(path).expanduser(), source) if path else _download(source)
    for file in found:
        verify(file)
    return found


def _in_folder(folder: Path, source: Source) -> list[Path]:
    if not folder.is_dir():
        raise InputError(f"weights folder '{folder}' does not exist. {source.how_to_get()}")
    present = [[folder / name for name in names if (folder / name).is_file()] for names in source.alternatives()]
    missing = [" or ".join(names) for names, there in zip(source.alternatives(), present, strict=True) if not there]
    if missing:
        raise InputError(f"weights folder '{folder}' lacks {', '.join(missing)}. {source.how_to_get()}")
    return [there[0] for there in present]


def _download(source: Source) -> list[Path]:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, OfflineModeIsEnabled

    def first_of(names: tuple[str, ...]) -> Path:
        for name in names[:-1]:
            try:
                return Path(hf_hub_download(source.repository, name, repo_type=kind))
            except (
                EntryNotFoundError
            ):  # also LocalEntryNotFoundError: without a network every name is tried in the cache
                continue
        return Path(hf_hub_download(source.repository, names[-1], repo_type=kind))

    kind = "dataset" if source.dataset else "model"
    try:
        return [first_of(names) for names in source.alternatives()]
    except (EntryNotFoundError, OfflineModeIsEnabled, HfHubHTTPError, OSError) as error:
        raise InputError(
            f"the weights of '{source.repository}' are neither in the local cache nor can they be downloaded "
            f"({type(error).__name__}). {source.how_to_get()}"
        ) from error


def read_weights(file: Path) -> Any:
    """Read a weight file: safetensors, or a pickle in torch's weights-only mode, mapped into memory."""
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(file)
        # Files in the format before torch 1.6 are not zip archives and cannot be mapped.
        return torch.load(file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file))
    except Exception as error:  # a damaged pickle can end in nearly any exception
        reason = first_line(error)
        raise InputError(f"the weights in '{file}' cannot be read ({reason}); download the file again") from error


def read_json_object(file: Path) -> dict[str, Any]:
    """Read a JSON file that holds an object.

    Raises:
        InputError: it cannot be read, holds something else, or numbers no model has.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"'{file}' cannot be read as JSON ({first_line(error)}); download it again") from error
    if not isinstance(content, dict):
        raise InputError(f"'{file}' holds a {type(content).__name__}, not a JSON object; download it again")
    refuse_sizes(content, file)
    return content


def refuse_sizes(content: Any, file: Path, key: str = "") -> None:
    """Refuse sizes beyond those of any model, with which building one would not end."""
    if isinstance(content, dict):
        for name, value in content.items():
            refuse_sizes(value, file, str(name))
    elif isinstance(content, list):
        for value in content:
            refuse_sizes(value, file, key)
    elif isinstance(content, int) and abs(content) > (MOST_LAYERS if LAYERS.search(key) else LARGEST):
        raise InputError(
            f"'{file}': {shown(key, 60)} is {shown(content, 40)}, too large for a model; download it again"
        )


@contextlib.contextmanager
def building_from(file: Path) -> Iterator[None]:
    """Raise an InputError that names the file where a library cannot build a model from its sizes."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # some libraries have exceptions of their own for sizes that do not fit
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise InputError(f"'{file}' describes no model that can be built ({reason}); download it again") from error


def load_weights(model: nn.Module, weights: dict[str, Tensor], file: Path) -> None:
    """Replace the weights of a model by the tensors of a state dict, in fp32, without copying them.

    Raises:
        InputError: keys or shapes differ from the model's, or the tensors hold no finite real numbers.
    """
    own = model.state_dict()
    common = own.keys() & weights.keys()
    if problem := why_not_fitting({key: weights[key] for key in common}, {key: own[key] for key in common}):
        raise InputError(f"the weights in '{file}' do not fit the model: {problem}; {WHAT_TO_DO}")
    check_keys(file, sorted(own.keys() - common), sorted(weights.keys() - common))
    model.load_state_dict(weights, assign=True)
    model.float()


def check_keys(file: Path, missing: list[str], unexpected: list[str]) -> None:
    """Raise an InputError that names missing and unexpected keys, if there are any."""
    if missing or unexpected:
        raise InputError(
            f"the weights in '{file}' do not fit the model: "
            f"missing keys {missing[:5] or 'none'}, unexpected keys {unexpected[:5] or 'none'}; "
            f"{WHAT_TO_DO}"
        )
