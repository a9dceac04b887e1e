"""Check files against the sha256 that the hub recorded for them."""

import contextlib
import hashlib
import re
from pathlib import Path

from dassl.errors import InputError
from dassl.utils import cache_dir


def verify(file: Path) -> None:
    """Check the content of a file; a file without a recorded sha256 passes.

    A file that passed is not read again while its size and modification time stay the same.

    Raises:
        InputError: the sha256 of the content differs from the recorded one.
    """
    expected, record = _recorded(file)
    if not re.fullmatch("[0-9a-f]{64}", expected):  # small files have git's hash, which is not a sha256 of the content
        return
    status = file.stat()
    identity = f"{file.resolve()} {status.st_size} {status.st_mtime_ns} {expected}"
    mark = cache_dir() / "verified" / hashlib.blake2b(identity.encode(), digest_size=16).hexdigest()
    if mark.exists():
        return
    with open(file, "rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != expected:
        raise InputError(
            f"the file '{file}' is damaged: its sha256 is {found}, the hub's is {expected}; "
            f"delete '{file.resolve()}' and download it again"
            + (f" (if you put this file there on purpose, delete '{record}' instead)" if record else "")
        )
    with contextlib.suppress(OSError):  # if the mark cannot be written, the file is read again next time
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()


def _recorded(file: Path) -> tuple[str, Path | None]:
    """Return the hash that the hub recorded for a file ("" for none), and the file that holds this record, if any.

    In the hub's cache a file is a symbolic link to a blob whose name is the hash. Only this one link is followed,
    because a blob may be a link into a store with other names. For a downloaded folder the hash is the second line of
    a metadata file.
    """
    if file.is_symlink():
        blob = file.readlink()
        return (blob.name if blob.parent.name == "blobs" else ""), None
    record = file.parent / ".cache" / "huggingface" / "download" / f"{file.name}.metadata"
    lines = record.read_text().split() if record.is_file() else []
    return (lines[1] if len(lines) > 1 else ""), record
