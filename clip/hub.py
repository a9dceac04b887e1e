"""Finds a model's files: in a local folder, in the hub's cache, or on the hub; reads weights without unpickling."""

import shlex
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from clip.checksum import verify
from dassl.errors import InputError

WEIGHT_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")


@dataclass(frozen=True)
class Source:
    """The files of a model in a repository on the hub.

    Attributes:
        repository: its id.
        files: names of files that must be there; of several names in a tuple the first that is there serves.
        dataset: whether it is a data set's repository; such a one is not downloaded as a whole.
    """

    repository: str
    files: tuple[str | tuple[str, ...], ...]
    dataset: bool = False

    def alternatives(self) -> list[tuple[str, ...]]:
        return [(names,) if isinstance(names, str) else names for names in self.files]

    def how_to_get(self) -> str:
        words = self.repository
        if self.dataset:
            words = f"--repo-type dataset {words} {shlex.join(names[0] for names in self.alternatives())}"
        return (
            f"On a machine with a network: hf download {words} --local-dir FOLDER; "
            "then set MODEL.BACKBONE.PATH to that folder."
        )


def find_files(path: str, source: Source) -> list[Path]:
    """A model's files, one for each of `source.files`, downloaded from the hub where no path is given.

    Args:
        path: a local folder, or "" for the hub, whose cache is honoured, also with HF_HUB_OFFLINE=1.
        source: which files, and where they come from.

    Raises:
        InputError: naming the folder or repository, what is missing or damaged and how to get it.
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
            except EntryNotFoundError:  # LocalEntryNotFoundError is one: without a network the cache is asked for each
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
    """What a file of weights holds, from safetensors or from a weights-only pickle mapped into memory."""
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(file)
        # The format before torch 1.6 is no zip archive and cannot be mapped.
        return torch.load(file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file))
    except Exception as error:
        raise InputError(f"the weights in '{file}' cannot be read ({error}); fetch the file again") from error


def load_weights(model: nn.Module, weights: dict[str, Tensor], file: Path) -> None:
    """Give a model the tensors of a state dict themselves, in fp32; all of them and no others must be there."""
    try:
        missing, unexpected = model.load_state_dict(weights, strict=False, assign=True)
    except RuntimeError as error:
        raise InputError(f"the weights in '{file}' do not fit the model: {error}") from error
    check_keys(file, missing, unexpected)
    model.float()


def check_keys(file: Path, missing: list[str], unexpected: list[str]) -> None:
    """Refuse weights that do not fit the model exactly, naming what is missing and what is left over."""
    if missing or unexpected:
        raise InputError(
            f"the weights in '{file}' do not fit the model: "
            f"missing {missing[:5] or 'nothing'}, left over {unexpected[:5] or 'nothing'}; "
            "fetch the file again, or choose the backbone that it belongs to"
        )
