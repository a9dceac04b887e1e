"""Download archives and unpack them safely."""

import shutil
import tarfile
import urllib.request
import zipfile
from pathlib import Path

from dassl.errors import InputError
from dassl.utils import atomic_path


def download(url: str, dst: str, from_gdrive: bool = False) -> None:
    """Download a file. Links to Google Drive are downloaded by gdown, which resumes and shows progress.

    Raises:
        InputError: the download from Google Drive failed.
    """
    if from_gdrive:
        import gdown

        try:
            gdown.download(url=url, output=dst, quiet=False, resume=True)
        except (OSError, gdown.exceptions.DownloadError, gdown.exceptions.FileURLRetrievalError) as error:
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            raise InputError(f"'{url}' could not be downloaded ({reason}); download it by hand to '{dst}'") from error
        return
    with atomic_path(dst) as temporary, urllib.request.urlopen(url) as source, open(temporary, "wb") as target:
        shutil.copyfileobj(source, target)


def unpack(archive: str, folder: str) -> None:
    """Unpack a .zip or .tar(.gz) archive into a folder.

    Raises:
        InputError: the archive has members outside the folder, or it cannot be unpacked safely.
    """
    path, root = Path(archive), Path(folder).resolve()
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as file:
            for name in file.namelist():
                if not (root / name).resolve().is_relative_to(root):
                    raise InputError(f"archive '{archive}' has a member outside its folder: '{name}'; do not use it")
            file.extractall(root)
        return
    try:
        with tarfile.open(path) as file:
            file.extractall(root, filter="data")
    except tarfile.TarError as error:
        raise InputError(f"archive '{archive}' cannot be unpacked safely: {error}") from error
