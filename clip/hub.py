"""Finds a model's files: in a local folder, in the hub's cache, or on the hub; reads weights without unpickling."""

from pathlib import Path

import torch
from torch import Tensor

from dassl.errors import InputError

WEIGHT_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")


def find_folder(path: str, hub_id: str, files: tuple[str, ...]) -> Path:
    """The folder that holds a model's files, downloaded from the hub where no path is given.

    Args:
        path: a local folder, or "" for the hub.
        hub_id: repository on the hub; its cache is honoured, also with HF_HUB_OFFLINE=1.
        files: files that must be there besides one of WEIGHT_FILES.

    Raises:
        InputError: naming the folder or repository, what is missing and how to get it.
    """
    if not path:
        return _download(hub_id, files)
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise InputError(f"weights folder '{folder}' does not exist. {_how_to_get(hub_id)}")
    missing = [name for name in files if not (folder / name).is_file()]
    if not any((folder / name).is_file() for name in WEIGHT_FILES):
        missing.append(" or ".join(WEIGHT_FILES))
    if missing:
        raise InputError(f"weights folder '{folder}' lacks {', '.join(missing)}. {_how_to_get(hub_id)}")
    return folder


def _download(hub_id: str, files: tuple[str, ...]) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    # LocalEntryNotFoundError is an EntryNotFoundError: without a network the cache is asked for either weight file.
    unreachable = (LocalEntryNotFoundError, OfflineModeIsEnabled, HfHubHTTPError, OSError)
    try:
        for name in files:
            config = hf_hub_download(hub_id, name)
        try:
            hf_hub_download(hub_id, WEIGHT_FILES[0])
        except EntryNotFoundError:
            hf_hub_download(hub_id, WEIGHT_FILES[1])
    except unreachable as error:
        raise InputError(
            f"the weights of '{hub_id}' are neither in the local cache nor can they be downloaded "
            f"({type(error).__name__}). {_how_to_get(hub_id)}"
        ) from error
    return Path(config).parent


def _how_to_get(hub_id: str) -> str:
    return (
        f"On a machine with a network: hf download {hub_id} --local-dir FOLDER; "
        "then set MODEL.BACKBONE.PATH to that folder."
    )


def read_weights(folder: Path) -> dict[str, Tensor]:
    """The state dict in a folder, from safetensors or from a weights-only pickle mapped into memory."""
    safe = folder / WEIGHT_FILES[0]
    try:
        if safe.is_file():
            from safetensors.torch import load_file

            return load_file(safe)
        return torch.load(folder / WEIGHT_FILES[1], map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:
        raise InputError(f"the weights in '{folder}' cannot be read ({error}); fetch the file again") from error


def check_keys(folder: Path, missing: list[str], unexpected: list[str]) -> None:
    """Refuse weights that do not fit the model exactly, naming what is missing and what is left over."""
    if missing or unexpected:
        raise InputError(
            f"the weights in '{folder}' do not fit the model its config describes: "
            f"missing {missing[:5] or 'nothing'}, left over {unexpected[:5] or 'nothing'}"
        )
