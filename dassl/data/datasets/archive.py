"""Unpack .zip and .tar archives that may be damaged or made to do harm."""

import lzma
import os
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

from dassl.errors import InputError

# Images hardly shrink in an archive. Larger contents than this are taken for a decompression bomb.
MAX_RATIO = 200
ALWAYS_ALLOWED = 100 * 2**20
MAX_MEMBERS = 1_000_000
BLOCK = 4096  # what a file system adds to a file at most, in its usual block size
# What the readers of archives raise for damaged content.
_DAMAGED = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, struct.error),
    *(OSError, EOFError, ValueError, LookupError, RuntimeError, OverflowError, MemoryError),
)


class ArchiveError(InputError):
    """The archive itself is damaged or unsafe; a better copy of it may help."""


class _Member(NamedTuple):
    name: str
    size: int
    is_folder: bool
    problem: str  # why it must not be unpacked; "" if it may
    source: zipfile.ZipInfo | tarfile.TarInfo


def unpack(archive: str | os.PathLike, folder: str | os.PathLike) -> None:
    """Unpack a .zip or .tar(.gz, .bz2, .xz) archive into a folder; its content says which of these it is.

    All members are checked before the first one is written. Only regular files and folders are unpacked.

    Raises:
        ArchiveError: the archive is damaged, encrypted or no archive, it has unsafe members (links, devices, paths
            that leave the folder or that differ between systems, the same name twice), or it is far larger than its
            size explains.
        InputError: the disk is too small, or the files cannot be written.
    """
    path, root = Path(archive), Path(folder)
    _check_content(path)
    with _opened(path) as file:
        with _named(path):
            found = _zip_members(file) if isinstance(file, zipfile.ZipFile) else _tar_members(file, root)
            members = _checked(path, found)
        _write(path, root, members, file.open if isinstance(file, zipfile.ZipFile) else file.extractfile)


def _opened(path: Path) -> zipfile.ZipFile | tarfile.TarFile:
    with _named(path):
        tarred = tarfile.is_tarfile(path)  # asked first: a .tar archive may end with a .zip archive
        return tarfile.open(path) if tarred else zipfile.ZipFile(path)


def _check_content(path: Path) -> None:
    """Raise an ArchiveError for what is no archive, with a guess at what it is."""
    if not path.is_file():
        raise InputError(f"archive '{path}' does not exist, or is no regular file; name an archive")
    with _named(path), open(path, "rb") as file:
        start = file.read(1024).lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not start and not path.stat().st_size:
        raise ArchiveError(f"archive '{path}' is empty (0 bytes); download it again")
    if start.startswith((b"<!doctype html", b"<html")):
        raise ArchiveError(
            f"'{path}' is a web page, not an archive (Google Drive sends one if too many people download a file); "
            "try again later, or download the archive with a browser"
        )
    with _named(path):
        if start.startswith(b"pk\x03\x04") and not zipfile.is_zipfile(path):
            raise ArchiveError(f"archive '{path}' is damaged (its end is missing); download it again")
        if not zipfile.is_zipfile(path) and not tarfile.is_tarfile(path):
            raise ArchiveError(f"'{path}' is damaged, or no .zip or .tar archive; download it again")


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Turn the errors of reading an archive into an ArchiveError that names it."""
    try:
        yield
    except InputError:
        raise
    except _DAMAGED as error:
        raise ArchiveError(
            f"archive '{path}' is damaged or cannot be read ({_reason(error)}); download it again"
        ) from error


def _reason(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]


def _zip_members(file: zipfile.ZipFile) -> Iterator[_Member]:
    for info in file.infolist():
        kind = stat.S_IFMT(info.external_attr >> 16)
        problem = ""
        if info.flag_bits & 1:
            problem = "is encrypted; unpack the archive yourself"
        elif kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            problem = "is a link or a device"
        elif "\0" in info.orig_filename:
            problem = "has a NUL character in its name"
        yield _Member(info.filename, info.file_size, info.is_dir(), problem, info)


def _tar_members(file: tarfile.TarFile, root: Path) -> Iterator[_Member]:
    for info in file:
        problem = "" if info.isreg() or info.isdir() else "is a link or a device"
        if not problem:
            try:
                tarfile.data_filter(info, str(root))
            except tarfile.FilterError as error:
                problem = f"lies outside its folder or is unsafe ({type(error).__name__})"
        yield _Member(info.name, info.size, info.isdir(), problem, info)
    file.fileobj.seek(file.offset)  # type: ignore[union-attr]  # an archive that was opened for reading has a file
    if len(file.fileobj.read(512)) < 512:  # type: ignore[union-attr]  # the block of zeros that ends an archive
        raise tarfile.ReadError("its end is missing")


def _checked(path: Path, members: Iterable[_Member]) -> list[_Member]:
    """Return all members; raise an ArchiveError at the first one that is unsafe."""
    allowed = max(ALWAYS_ALLOWED, MAX_RATIO * path.stat().st_size)
    total, kept, files, folders = 0, [], set(), set()
    for member in members:
        problem = member.problem or _name_problem(member.name)
        parts = tuple(part for part in member.name.split("/") if part not in ("", "."))
        if not problem and parts:
            above = {parts[:end] for end in range(1, len(parts) + member.is_folder)}
            folders |= above
            if not member.is_folder:
                problem = "is there twice" if parts in files else ""
                files.add(parts)
            if not problem and (files & above or (not member.is_folder and parts in folders)):
                problem = "is a file and a folder"
        if problem:
            raise ArchiveError(
                f"archive '{path}' cannot be unpacked safely: its member {member.name[:100]!r} {problem}"
            )
        total += member.size
        kept.append(member)
        if total > allowed or len(kept) > MAX_MEMBERS:
            raise ArchiveError(
                f"archive '{path}' is not unpacked: its content is too large for its size of {path.stat().st_size:,} "
                f"bytes (more than {allowed:,} bytes or {MAX_MEMBERS:,} members), as in a decompression bomb"
            )
    if not files:
        raise ArchiveError(f"archive '{path}' holds no files; download it again")
    return kept


def _name_problem(name: str) -> str:
    """Return why a name is unsafe on some system; "" if it is safe on all."""
    parts = name.split("/")
    if name.startswith("/") or ".." in parts or name[1:2] == ":":
        return "lies outside its folder"
    if "\\" in name or any(ord(character) < 32 for character in name):
        return "has a backslash or a control character in its name"
    if any(len(os.fsencode(part)) > 255 for part in parts) or len(os.fsencode(name)) > 3000:
        return "has a name that is too long for file systems"
    return ""


def _write(path: Path, root: Path, members: list[_Member], open_member: Callable[..., IO[bytes] | None]) -> None:
    """Write the members below a folder.

    Raises:
        InputError: the disk is too small, or a file cannot be written.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        needed = sum(member.size + BLOCK for member in members)
        free = shutil.disk_usage(root).free
    except OSError as error:
        raise InputError(f"archive '{path}' cannot be unpacked into '{root}' ({_reason(error)})") from error
    if needed > free:
        raise InputError(
            f"archive '{path}' cannot be unpacked into '{root}': it needs {needed / 1e6:,.0f} MB on the disk, and "
            f"{free / 1e6:,.0f} MB are free; free some space, or choose another disk"
        )
    for member in members:
        target = root / member.name
        try:
            (target if member.is_folder else target.parent).mkdir(parents=True, exist_ok=True)
            if not member.is_folder:
                with _read(path, open_member, member) as source, open(target, "wb") as file:
                    _copy(path, member, source, file)
        except (OSError, UnicodeError) as error:
            raise InputError(
                f"archive '{path}' cannot be unpacked into '{root}': {member.name[:100]!r} cannot be written "
                f"({_reason(error)}); free some space, or choose another folder"
            ) from error


def _read(path: Path, open_member: Callable[..., IO[bytes] | None], member: _Member) -> IO[bytes]:
    with _named(path):
        source = open_member(member.source)
        assert source is not None  # it is a regular file
        return source


def _copy(path: Path, member: _Member, source: IO[bytes], target: IO[bytes]) -> None:
    """Copy a member, and check that it has the size that the archive states."""
    left = member.size
    while True:
        with _named(path):
            chunk = source.read(2**20)
        if not chunk:
            break
        left -= len(chunk)
        if left < 0:
            break
        target.write(chunk)
    if left:
        raise ArchiveError(f"archive '{path}' is damaged ({member.name[:100]!r} has another size); download it again")
