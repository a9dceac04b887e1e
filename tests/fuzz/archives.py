"""Archives that somebody put into the data root, unpacked by python -m datasets.fetch without a network."""

import sys
from pathlib import Path
from unittest import mock

from hypothesis import strategies as st

from datasets import fetch
from tests.fuzz.archive_files import CLASSES, FILES, IMAGE, RIGHT, WRONG, tarred, zipped
from tests.fuzz.place import Place, Site
from tests.fuzz.verdict import ACCEPT, EITHER, REFUSE, Case, Outcome, call

MEMBERS = [
    "..",
    "../..",
    "a",
    "BUSI",
    "normal_scan",
    "x.png",
    ".",
    "",
    "con",
    "a b",
    "é",
    "~",
    "-x",
    "\\",
    "..\\x",
    "C:",
]

SUFFIXES = [".zip", ".tar", ".tar.gz"]
CANARY = "/CANARY"  # stands for a path outside of the data root


def hand() -> list[Case]:
    """What must be accepted and what must be refused."""
    found = [_case(name, ACCEPT) for name in RIGHT]
    found += [_case(name, REFUSE) for name in WRONG]
    found += [_case(name, REFUSE, member=CANARY) for name in ("zip", "tar")]
    return [*found, _case("folder", REFUSE), _case("link to nothing", EITHER)]


def _case(name: str, must: str, changes=(), member: str = "", suffix: str = "") -> Case:
    suffix = suffix or (RIGHT | WRONG).get(name, (".zip",))[0]
    return Case("archives", {"archive": name, "suffix": suffix, "changes": list(changes), "member": member}, must)


@st.composite
def cases(draw) -> Case:
    """An archive that was cut, with some changed bytes, with a strange member, or with another suffix."""
    how = draw(st.sampled_from(["cut", "bytes", "member", "member", "suffix"]))
    name = draw(st.sampled_from(list(RIGHT)))
    if how == "cut":
        return _case(name, EITHER if name == "tar" else REFUSE, [["cut", draw(st.floats(0, 0.9)), 0]])
    if how == "member":
        parts = draw(st.lists(st.sampled_from(MEMBERS), min_size=1, max_size=5))
        inside = Path("/top").joinpath(*parts).resolve().is_relative_to("/top")
        return _case(draw(st.sampled_from(["zip", "tar"])), EITHER if inside else REFUSE, member="/".join(parts))
    if how == "suffix":
        return _case(draw(st.sampled_from([*RIGHT, *WRONG])), EITHER, suffix=draw(st.sampled_from(SUFFIXES)))
    change = st.tuples(st.just("byte"), st.floats(0, 1, exclude_max=True), st.integers(0, 255)).map(list)
    return _case(name, EITHER, draw(st.lists(change, min_size=1, max_size=5)))


def carry_out(case: Case, place: Place, site: Site) -> Outcome:
    """Put the archive into a data root and fetch the data set; it stays, and the folder is complete or not there."""
    root = place.inside / "data"
    root.mkdir()
    archive = root / f"BUSI{case.what['suffix']}"
    content = _made(case, archive, str(place.canary))
    words = ["fetch", "busi", "--root", str(root)]
    failing = mock.Mock(side_effect=ConnectionError("no network"))
    with (
        mock.patch.object(sys, "argv", words),
        mock.patch("huggingface_hub.hf_hub_download", failing),
        mock.patch("gdown.download", failing),
    ):
        outcome = call(fetch.main)
    folder, found = root / "BUSI", {path.name for path in root.iterdir()} - {archive.name, "BUSI"}
    kept = archive.is_file() and archive.read_bytes() == content
    outcome.wrong += [] if kept or content is None else ["the archive was changed or deleted"]
    outcome.wrong += [f"left {sorted(found)} in the data root"] if found else []
    if outcome.code == 0:
        empty = [name for name in CLASSES if not list(folder.glob(f"BUSI/{name}/*"))]
        outcome.wrong += [f"exit code 0 without images of {empty}"] if empty else []
        links = [path.name for path in folder.rglob("*") if path.is_symlink() or not (path.is_file() or path.is_dir())]
        outcome.wrong += [f"unpacked {links}, which are neither files nor folders"] if links else []
    elif folder.exists():
        outcome.wrong.append("an incomplete folder takes the place of the data set")
    return outcome


def _made(case: Case, archive: Path, canary: str) -> bytes | None:
    """Make the archive; returns its content."""
    name = case.what["archive"]
    if name == "folder":
        archive.mkdir()
        return None
    if name == "link to nothing":
        archive.symlink_to("nothing")
        return None
    if case.what["member"]:
        content = {"zip": zipped, "tar": tarred}[name]({**FILES, case.what["member"].replace(CANARY, canary): IMAGE})
    else:
        content = (RIGHT | WRONG)[name][1]()
    for how, share, value in case.what["changes"]:
        at = int(share * len(content))
        content = content[:at] if how == "cut" else content[:at] + bytes([value]) + content[at + 1 :]
    archive.write_bytes(content)
    return content


def names(case: Case) -> list[str]:
    """What an error message may call the input: the archive."""
    return [f"BUSI{case.what['suffix']}"]
