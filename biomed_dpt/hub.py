"""Bundles on the Hugging Face hub: hf://user/name names a repository, hf://user/name@revision a state of it."""

import os
import re
from pathlib import Path
from typing import Any

from dassl.errors import InputError, first_line, shown
from trainers.bundle import ABOUT_FILE, FILES, WEIGHTS_FILE, Bundle, find_bundle, read_bundle
from trainers.predictor import Predictor

SCHEME = "hf://"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")
_REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*")
_LOG_IN = "log in with: hf auth login (or set HF_TOKEN)"


def load(source: str | os.PathLike[str], **keywords: Any) -> Predictor:
    """A tuned model that predicts.

    Args:
        source: the folder of a bundle or of the run that left it, or hf://user/name[@revision].
        keywords: of `Predictor`: backbone, backbone_path, classnames, device, precision.

    Raises:
        InputError: there is no such bundle, it is damaged, or it does not fit the backbone.
    """
    return Predictor(open_bundle(source), **keywords)


def open_bundle(source: str | os.PathLike[str]) -> Bundle:
    """Read the bundle in a folder, or in a repository on the hub (hf://user/name[@revision])."""
    return read_bundle(fetch_bundle(source))


def fetch_bundle(source: str | os.PathLike[str], cache: str | Path | None = None) -> Path:
    """The folder of a bundle; that of a repository on the hub is downloaded unless the hub's cache has it.

    Only the files of a bundle are downloaded. HF_HUB_OFFLINE, HF_HOME, HF_ENDPOINT and HF_TOKEN are respected.

    Args:
        source: a folder, or hf://user/name[@revision].
        cache: the folder of the hub's cache, if it is not the usual one.

    Raises:
        InputError: a name that cannot be one, no such repository or revision, no bundle in it, or no network.
    """
    if not str(source).startswith(SCHEME):
        return find_bundle(Path(source))
    repository, revision = parse_source(str(source))
    folder = _download(repository, revision, cache)
    if missing := [name for name in (ABOUT_FILE, WEIGHTS_FILE) if not (folder / name).is_file()]:
        raise InputError(f"'{source}' holds no bundle: it has no {' and no '.join(missing)}; name another repository")
    return folder


def parse_source(source: str) -> tuple[str, str | None]:
    """The repository and the revision (None for the newest) of hf://user/name[@revision].

    Raises:
        InputError: it has another form.
    """
    repository, at, revision = source.removeprefix(SCHEME).partition("@")
    check_repository(repository)
    if at and (not _REVISION.fullmatch(revision) or ".." in revision):
        raise InputError(f"{shown(source)}: {shown(revision)} is no branch, tag or commit")
    return repository, revision or None


def check_repository(repository: str) -> None:
    """Refuse what is not the name of a repository on the hub.

    Raises:
        InputError: it has another form than user/name.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repository)
    except HFValidationError as error:
        raise InputError(f"{shown(repository)} is no name of a repository: {first_line(error)}") from error
    if not _NAME.fullmatch(repository):
        raise InputError(f"{shown(repository)} is no name of a repository; it must be of the form user/name")


def push(
    bundle: str | Path, repository: str, private: bool | None = None, message: str = "", token: str | None = None
) -> str:
    """Upload a bundle to a repository on the hub, which is created if it is missing; returns its address.

    Args:
        bundle: the folder of a bundle, or of the run that left it.
        repository: user/name.
        private: whether a repository that is created can be seen by its owner only; None for the hub's default.
        message: of the commit; by default, method and backbone.
        token: of the hub; by default, that of `hf auth login` or HF_TOKEN.

    Raises:
        InputError: no bundle, or a damaged one; a name that cannot be one; not logged in, or no network.
    """
    from huggingface_hub import HfApi

    found = read_bundle(bundle)
    check_repository(repository)
    api = HfApi(token=token)
    message = message or f"{found.method} on {found.backbone}"
    try:
        address = api.create_repo(repository, private=private, exist_ok=True)
        api.upload_folder(
            repo_id=repository, folder_path=found.where, allow_patterns=list(FILES), commit_message=message
        )
    except Exception as error:  # the hub's client has used several HTTP libraries, each with exceptions of its own
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise InputError(
            f"'{found.where}' was not uploaded to '{repository}' ({reason}); check the network, and {_LOG_IN}"
        ) from error
    return str(address)


def _download(repository: str, revision: str | None, cache: str | Path | None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    name = repository + (f"@{revision}" if revision else "")
    try:
        return Path(snapshot_download(repository, revision=revision, cache_dir=cache, allow_patterns=list(FILES)))
    except RepositoryNotFoundError as error:
        raise InputError(f"there is no repository '{repository}' on the hub, or it is private; {_LOG_IN}") from error
    except RevisionNotFoundError as error:
        raise InputError(f"the repository '{repository}' has no revision '{revision}'; name one of its") from error
    except Exception as error:  # as in `push`
        wanted = f"{repository} --revision {revision}" if revision else repository
        raise InputError(
            f"the bundle '{name}' is neither in the local cache nor can it be downloaded ({type(error).__name__}). On "
            f"a machine with a network: hf download {wanted} --local-dir FOLDER; then name that folder"
        ) from error
