"""Image files: all modes and formats, damaged ones, and what is no image file at all."""

import contextlib
import json
import os
import socket
from importlib.util import find_spec
from pathlib import Path

from hypothesis import strategies as st

from dassl.errors import InputError
from tests.fuzz.image_files import NO_IMAGES, RAMPS, dicom, is_ramp
from tests.fuzz.place import Place, Site
from tests.fuzz.project import own_copy, run_own
from tests.fuzz.splits import SPLIT
from tests.fuzz.verdict import ACCEPT, EITHER, REFUSE, Case, Outcome

DICOM = {
    "dicom": (".dcm", lambda: dicom()),
    "dicom 16": (".dcm", lambda: dicom(bits=16)),
    "dicom falling": (".dcm", lambda: dicom(falling=True)),
}
NO_DICOM = {
    "dicom of 3 frames": (".dcm", lambda: dicom(frames=3)),
    "dicom without pixels": (".dcm", lambda: dicom(pixels=False)),
    "dicom half": (".dcm", lambda: dicom()[:900]),
}
if not find_spec("pydicom"):
    DICOM, NO_DICOM = {}, {}
FILES = RAMPS | DICOM | NO_IMAGES | NO_DICOM
FALLING = {"jpeg turned by 180", "dicom falling"}
LINKS = {"link to nothing": "nothing", "link to a device": "/dev/zero", "link to a folder": ".", "link to itself": ""}
NO_FILES = ("folder", "pipe", "socket", *LINKS)
BY_SETTING = [
    ("png 16", ["INPUT.DEPTH", "refuse"], REFUSE),
    ("tiff float", ["INPUT.DEPTH", "refuse"], REFUSE),
    ("tiff int32", ["INPUT.DEPTH", "refuse"], REFUSE),
    ("png RGB", ["INPUT.DEPTH", "refuse"], ACCEPT),
    ("gif two frames", ["INPUT.FRAMES", "refuse"], REFUSE),
    ("tiff two frames", ["INPUT.FRAMES", "refuse"], REFUSE),
    ("gif", ["INPUT.FRAMES", "refuse"], ACCEPT),
    ("png RGB", ["INPUT.MAX_PIXELS", "900"], REFUSE),
    ("png RGB", ["INPUT.MAX_PIXELS", "960"], ACCEPT),
    ("jpeg turned by 180", ["INPUT.ORIENTATION", "apply"], ACCEPT),
]


def hand() -> list[Case]:
    """What must be accepted, with the right grey levels, and what must be refused."""
    found = [_case(name, ACCEPT) for name in (*RAMPS, *DICOM)]
    found += [_case(name, REFUSE) for name in (*NO_IMAGES, *NO_DICOM, *NO_FILES)]
    return found + [_case(name, must, pairs=pairs) for name, pairs, must in BY_SETTING]


def _case(name: str, must: str, suffix: str = "", changes=(), pairs=()) -> Case:
    suffix = suffix or FILES.get(name, (".png",))[0]
    return Case("images", {"file": name, "suffix": suffix, "changes": list(changes), "pairs": list(pairs)}, must)


@st.composite
def cases(draw) -> Case:
    """A file that was cut, or of which some bytes were changed, or that has the suffix of another format."""
    how = draw(st.sampled_from(["cut", "bytes", "bytes", "suffix"]))
    name = draw(st.sampled_from([*RAMPS, *DICOM, *NO_DICOM]))
    if how == "cut":
        share = draw(st.floats(0, 0.6))
        return _case(name, REFUSE if name.startswith(("png", "jpeg")) else EITHER, changes=[["cut", share, 0]])
    if how == "suffix":
        return _case(name, EITHER, suffix=draw(st.sampled_from([".png", ".jpg", ".tif", ".gif", ".dcm", ".webp"])))
    change = st.tuples(st.just("byte"), st.floats(0, 1, exclude_max=True), st.integers(0, 255)).map(list)
    return _case(name, EITHER, changes=draw(st.lists(change, min_size=1, max_size=8)))


def carry_out(case: Case, place: Place, site: Site) -> Outcome:
    """Build a run whose test images are the file and good ones; check the picture of a file that must be accepted."""
    root = own_copy(site, place)
    name = f"ill/case{case.what['suffix']}"
    path = root / "Own" / "Own" / name
    with _made(case, path):
        split = {**SPLIT, "test": [[name, 0, "ill"], *SPLIT["test"][1:]]}
        (root / "Own" / "split_Own.json").write_text(json.dumps(split))
        outcome = run_own(case, root, place, *case.what["pairs"])
        if outcome.code == 0 and case.must == ACCEPT and not case.what["changes"]:
            outcome.wrong += _wrong_picture(path, case.what["file"] in FALLING)
    return outcome


def _wrong_picture(path: Path, falling: bool) -> list[str]:
    from datasets.images import ImageReader

    try:
        picture = ImageReader()(str(path))
    except InputError as error:
        return [f"the reader refuses what the check accepts: {error}"]
    return [] if is_ramp(picture, falling) else ["the picture is not the one that the file holds"]


@contextlib.contextmanager
def _made(case: Case, path: Path):
    """Make what the case names; at the end, free threads that wait for a pipe."""
    name = case.what["file"]
    if name in FILES:
        path.write_bytes(_changed(FILES[name][1](), case.what["changes"]))
    elif name == "folder":
        path.mkdir()
    elif name == "pipe":
        os.mkfifo(path)
    elif name == "socket":
        _socket(path)
    else:
        path.symlink_to(LINKS[name] or path)
    yield
    if name == "pipe":
        os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK))


def _socket(path: Path) -> None:
    """A socket, made in its folder, since its whole path may be too long for one."""
    before = os.getcwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(before)


def _changed(content: bytes, changes: list) -> bytes:
    for how, share, value in changes:
        at = int(share * len(content))
        content = content[:at] if how == "cut" else content[:at] + bytes([value]) + content[at + 1 :]
    return content


def names(case: Case) -> list[str]:
    """What an error message may call the input: the file."""
    return [f"ill/case{case.what['suffix']}"]
