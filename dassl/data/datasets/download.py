"""Download files, with pooch or from Google Drive with gdown."""

import os
import tempfile
from pathlib import Path

from dassl.data.datasets.archive import unpack
from dassl.errors import InputError

__all__ = ["download", "unpack"]
TIMEOUT = 30  # seconds without an answer of the server


def download(url: str, dst: str, from_gdrive: bool = False, sha256: str | None = None) -> None:
    """Download a file; it appears at `dst` when it is complete, in place of a file of this name.

    Args:
        from_gdrive: whether the link is one to Google Drive, which gdown downloads; gdown resumes a partial download.
        sha256: the expected checksum; None for unknown.

    Raises:
        InputError: the download failed, or the file has another checksum.
    """
    import pooch
    from pooch.utils import get_logger

    try:
        if from_gdrive:
            from_google_drive(url, dst)
            if sha256 and pooch.file_hash(dst, alg="sha256") != sha256:
                raise ValueError(f"the SHA-256 is not {sha256}")
            return
        get_logger().setLevel("WARNING")
        with tempfile.TemporaryDirectory(prefix=".download-", dir=Path(dst).parent) as folder:
            name = Path(dst).name
            files = pooch.create(folder, base_url="", registry={name: sha256}, urls={name: url}, retry_if_failed=1)
            downloader = pooch.HTTPDownloader(progressbar=True, chunk_size=2**16, timeout=TIMEOUT)
            os.replace(files.fetch(name, downloader=downloader), dst)
    except (OSError, ValueError) as error:  # requests' errors are OSErrors, pooch's ValueErrors
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise InputError(f"'{url}' could not be downloaded ({reason}); download it by hand to '{dst}'") from error


def from_google_drive(url: str, dst: str) -> None:
    """Download a file with gdown.

    Raises:
        OSError: the download failed.
    """
    import gdown

    try:
        gdown.download(url=url, output=dst, quiet=False, resume=True, timeout=TIMEOUT)
    except (gdown.exceptions.DownloadError, gdown.exceptions.FileURLRetrievalError) as error:
        raise OSError(str(error).strip().splitlines()[0]) from error
    if not Path(dst).is_file():
        raise OSError("Google Drive sent nothing")
