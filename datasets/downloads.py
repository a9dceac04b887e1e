"""Where the archives of the data sets come from: a mirror on Hugging Face, and Google Drive."""

import re
from collections.abc import Callable
from pathlib import Path

from dassl.data.datasets.download import from_google_drive
from dassl.errors import InputError
from datasets.folder import HUB_DATASET, FolderDataset

DRIVE = "https://drive.google.com"
CONNECT_TIMEOUT = 5  # seconds
Dataset = type[FolderDataset]


class Sources:
    """Downloads archives. A server that cannot be reached is asked once, not once for each data set."""

    def __init__(self) -> None:
        self._unreachable: dict[str, str] = {}

    def download(self, dataset: Dataset, folder: Path) -> str:
        """Download the archive of a data set into a folder, and return the name of the source.

        Raises:
            InputError: no source has it, or the network cannot be used.
        """
        from huggingface_hub import constants
        from huggingface_hub.errors import HfHubHTTPError

        if constants.HF_HUB_OFFLINE:
            raise InputError(f"HF_HUB_OFFLINE forbids downloads; {_by_hand(dataset)}")
        ways: list[tuple[str, str, Callable[[Dataset, Path], None]]] = [
            ("Hugging Face", constants.ENDPOINT, _from_hub),
            ("Google Drive", DRIVE, _from_drive),
        ]
        reasons = []
        for name, server, load in ways:
            if server not in self._unreachable:
                self._unreachable[server] = connection_problem(server)
            if self._unreachable[server]:
                reasons.append(self._unreachable[server])
                continue
            try:
                load(dataset, folder)
                return name
            except (OSError, HfHubHTTPError) as error:  # among the OSErrors are those of the connection
                reasons.append(f"{name}: " + " ".join(f"{type(error).__name__}: {error}".split())[:200])
        raise InputError(f"{dataset.folder}.zip could not be downloaded ({'; '.join(reasons)}); {_by_hand(dataset)}")


def connection_problem(server: str) -> str:
    """Return why a server cannot be reached within a few seconds; "" if it answers."""
    import pooch

    try:
        pooch.HTTPDownloader(timeout=CONNECT_TIMEOUT)(server, None, None, check_only=True)
    except OSError as error:  # requests' errors
        return f"'{server}' cannot be reached ({type(error).__name__})"
    return ""


def drive_link(dataset: Dataset) -> str:
    """Return the link to a data set's archive for a browser."""
    return f"{DRIVE}/file/d/{dataset.drive_id}/view"


def recorded_sha256(archive: Path) -> str:
    """Return the SHA-256 that Hugging Face stated for a file that was downloaded from it; "" for other files."""
    record = _record(archive)
    words = record.read_text(encoding="utf-8", errors="replace").split() if record.is_file() else []
    return next((word for word in words[1:2] if re.fullmatch("[0-9a-f]{64}", word)), "")


def _record(archive: Path) -> Path:
    """The file beside a download in which huggingface_hub keeps revision and checksum."""
    return archive.parent / ".cache" / "huggingface" / "download" / f"{archive.name}.metadata"


def _by_hand(dataset: Dataset) -> str:
    return (
        f"with a browser, get {dataset.folder}.zip from https://huggingface.co/datasets/{HUB_DATASET} or "
        f"{drive_link(dataset)}, put it into the data root, and run the same command again"
    )


def _from_hub(dataset: Dataset, folder: Path) -> None:
    from huggingface_hub import hf_hub_download

    hf_hub_download(HUB_DATASET, f"{dataset.folder}.zip", repo_type="dataset", local_dir=folder)


def _from_drive(dataset: Dataset, folder: Path) -> None:
    archive = folder / f"{dataset.folder}.zip"
    _record(archive).unlink(missing_ok=True)  # that of an earlier download
    from_google_drive(f"{DRIVE}/uc?id={dataset.drive_id}", str(archive))
