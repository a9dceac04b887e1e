"""Fetches archives and unpacks them without leaving their folder."""

import shutil
import tarfile
import urllib.request
import zipfile
from pathlib import Path

from dassl.errors import InputError
from dassl.utils import atomic_path


def download(url: str, dst: str, from_gdrive: bool = False) -> None:
    """Download a file; Google Drive links go through gdown, which resumes and shows progress.

    Raises:
        InputError: Google Drive did not give the file.
    """
    if from_gdrive:
        import gdown

        try:
            gdown.download(url=url, output=dst, quiet=False, resume=True)
        except (OSError, gdown.exceptions.DownloadError, gdown.exceptions.FileURLRetrievalError) as error:
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            raise InputError(f"'{url}' could not be downloaded ({reason}); fetch it by hand to '{dst}'") from error
        return
    with atomic_path(dst) as temporary, urllib.request.urlopen(url) as source, open(temporary, "wb") as target:
        shutil.copyfileobj(source, target)


def unpack(archive: str, folder: str) -> None:
    """Unpack a .zip or .tar(.gz) archive into a folder; members that would leave the folder are refused."""
    path, root = Path(archive), Path(folder).resolve()
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as file:
            for name in file.namelist():
                if not (root / name).resolve().is_relative_to(root):
                    raise InputError(f"archive '{archive}' has a member outside its folder: '{name}'; do not trust it")
            file.extractall(root)
        return
    try:
        with tarfile.open(path) as file:
            file.extractall(root, filter="data")
    except tarfile.TarError as error:
        raise InputError(f"archive '{archive}' cannot be unpacked safely: {error}") from error
