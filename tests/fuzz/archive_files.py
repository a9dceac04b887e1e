"""Makes archives of a data set, and archives that are damaged or meant to do harm."""

import io
import stat
import tarfile
import warnings
import zipfile
from collections.abc import Callable, Iterable
from functools import cache

from tests.fuzz.image_files import GREY, saved

CLASSES = ("benign_tumor", "malignant_tumor", "normal_scan")
IMAGE = saved(GREY, "PNG")
FILES = {f"BUSI/BUSI/{name}/{k}.png": IMAGE for name in CLASSES for k in range(3)}
Files = dict[str, bytes]
Member = tuple[str | zipfile.ZipInfo, bytes]


def zipped(files: Files, more: Iterable[Member] = (), method: int = zipfile.ZIP_STORED) -> bytes:
    """A zip archive; `more` are further members, whose names may be in use already."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", method) as file:
        for name, content in [*files.items(), *more]:
            with warnings.catch_warnings(action="ignore"):  # zipfile warns of names that it has already
                file.writestr(name, content)
    return made.getvalue()


def tarred(files: Files, more: Iterable[tarfile.TarInfo] = (), mode: str = "w") -> bytes:
    """A tar archive; `more` are further members without content."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode=mode) as file:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))
        for member in more:
            file.addfile(member)
    return made.getvalue()


def zip_link(name: str, target: str) -> tuple[zipfile.ZipInfo, bytes]:
    member = zipfile.ZipInfo(name)
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    return member, target.encode()


def tar_member(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


def encrypted() -> bytes:
    """A zip archive whose members say that they are encrypted."""
    content = bytearray(zipped(FILES))
    for magic, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = content.find(magic)
        while at >= 0:
            content[at + place] |= 1
            at = content.find(magic, at + 4)
    return bytes(content)


def claims_a_terabyte() -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as file:
        for name, content in FILES.items():
            file.writestr(name, content)
        file.filelist[0].file_size = 10**12
    return made.getvalue()


@cache
def bomb() -> bytes:
    """A zip archive that is a thousand times as large when unpacked."""
    return zipped(FILES, [("BUSI/zeros", bytes(150_000_000))], zipfile.ZIP_DEFLATED)


def without(part: str) -> Files:
    return {name: content for name, content in FILES.items() if part not in name}


def renamed(old: str, new: str) -> Files:
    return {name.replace(old, new): content for name, content in FILES.items()}


RIGHT: dict[str, tuple[str, Callable[[], bytes]]] = {
    "zip": (".zip", lambda: zipped(FILES)),
    "deflated zip": (".zip", lambda: zipped(FILES, method=zipfile.ZIP_DEFLATED)),
    "zip with folders": (".zip", lambda: zipped({"BUSI/": b"", "BUSI/BUSI/": b"", **FILES})),
    "tar": (".tar", lambda: tarred(FILES)),
    "tar.gz": (".tar.gz", lambda: tarred(FILES, mode="w:gz")),
    "zip with notes": (".zip", lambda: zipped({**FILES, "BUSI/README.txt": b"notes"})),
}
OUT = "../evil.png"
WRONG: dict[str, tuple[str, Callable[[], bytes]]] = {
    "empty": (".zip", lambda: b""),
    "text": (".zip", lambda: b"this is no archive"),
    "html": (".zip", lambda: b"<!DOCTYPE html><html><body>Sign in</body></html>"),
    "empty zip": (".zip", lambda: zipped({})),
    "half a zip": (".zip", lambda: zipped(FILES)[: len(zipped(FILES)) // 2]),
    "zip without its end": (".zip", lambda: zipped(FILES)[:-30]),
    "half a tar": (".tar", lambda: tarred(FILES)[:5000]),
    "half a tar.gz": (".tar.gz", lambda: tarred(FILES, mode="w:gz")[:300]),
    "empty tar": (".tar", lambda: b""),
    "encrypted": (".zip", encrypted),
    "bomb": (".zip", bomb),
    "claims a terabyte": (".zip", claims_a_terabyte),
    "zip: path above": (".zip", lambda: zipped(FILES, [(OUT, IMAGE)])),
    "zip: path far above": (".zip", lambda: zipped(FILES, [("BUSI/../../../../evil.png", IMAGE)])),
    "zip: Windows path": (".zip", lambda: zipped(FILES, [("C:\\evil.png", IMAGE), ("..\\evil.png", IMAGE)])),
    "zip: link": (".zip", lambda: zipped(FILES, [zip_link("BUSI/link", "/etc/passwd")])),
    "zip: link above": (".zip", lambda: zipped(FILES, [zip_link("BUSI/up", "../../.."), ("BUSI/up/evil.png", IMAGE)])),
    "zip: the same name": (".zip", lambda: zipped(FILES, [("BUSI/BUSI/normal_scan/0.png", b"other")])),
    "zip: file and folder": (".zip", lambda: zipped(FILES, [("BUSI/BUSI/normal_scan/0.png/x", b"other")])),
    "zip: long name": (".zip", lambda: zipped(FILES, [("BUSI/" + "a" * 300, b"")])),
    "zip: damaged member": (".zip", lambda: zipped(FILES).replace(IMAGE[-40:-20], bytes(20), 1)),
    "tar: path above": (".tar", lambda: tarred({**FILES, OUT: IMAGE})),
    "tar: link": (".tar", lambda: tarred(FILES, [tar_member("BUSI/link", tarfile.SYMTYPE, "/etc/passwd")])),
    "tar: hard link": (".tar", lambda: tarred(FILES, [tar_member("BUSI/link", tarfile.LNKTYPE, "/etc/passwd")])),
    "tar: device": (".tar", lambda: tarred(FILES, [tar_member("BUSI/device", tarfile.CHRTYPE)])),
    "tar: pipe": (".tar", lambda: tarred(FILES, [tar_member("BUSI/pipe", tarfile.FIFOTYPE)])),
    "one class missing": (".zip", lambda: zipped(without("normal_scan"))),
    "no images": (".zip", lambda: zipped({"BUSI/BUSI/": b""})),
    "empty class folders": (".zip", lambda: zipped({f"BUSI/BUSI/{name}/": b"" for name in CLASSES})),
    "another data set": (".zip", lambda: zipped({"BTMRI/BTMRI/glioma_tumor/0.png": IMAGE})),
    "other class folders": (".zip", lambda: zipped(renamed("normal_scan", "healthy"))),
    "a damaged split": (
        ".zip",
        lambda: zipped({**FILES, "BUSI/split_BUSI.json": b'{"train": [["x.png", 0]]}'}),
    ),
}
