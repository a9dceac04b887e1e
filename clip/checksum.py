"""Checks files against the sha256 that the hub supplied with them."""

import contextlib
import hashlib
import re
from pathlib import Path

from dassl.errors import InputError
from dassl.utils import cache_dir


def verify(file: Path) -> None:
    """Refuse a file whose content is not what the hub recorded; a file of which nothing is recorded passes.

    A file is read once: that it was right is remembered by its size and time of change.

    Raises:
        InputError: the content has another sha256.
    """
    expected, record = _recorded(file)
    if not re.fullmatch("[0-9a-f]{64}", expected):  # small files go by git's own hash, which is none of the content
        return
    status = file.stat()
    known_as = f"{file.resolve()} {status.st_size} {status.st_mtime_ns} {expected}"
    mark = cache_dir() / "verified" / hashlib.blake2b(known_as.encode(), digest_size=16).hexdigest()
    if mark.exists():
        return
    with open(file, "rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != expected:
        raise InputError(
            f"the file '{file}' is damaged: its sha256 is {found}, the hub's is {expected}; "
            f"delete '{file.resolve()}' and fetch it again"
            + (f" (a file put there on purpose: delete '{record}')" if record else "")
        )
    with contextlib.suppress(OSError):  # where nothing can be remembered, the file is read again next time
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()


def _recorded(file: Path) -> tuple[str, Path | None]:
    """The hub's name for a file's content, and the record it stands in, if that is a file of its own.

    In the hub's cache a file is a link to a blob that bears the name; only this one link is followed, as a blob may
    itself be a link into a store that names files otherwise. Beside a downloaded folder the name is the second line
    of a record.
    """
    if file.is_symlink():
        blob = file.readlink()
        return (blob.name if blob.parent.name == "blobs" else ""), None
    record = file.parent / ".cache" / "huggingface" / "download" / f"{file.name}.metadata"
    lines = record.read_text().split() if record.is_file() else []
    return (lines[1] if len(lines) > 1 else ""), record
