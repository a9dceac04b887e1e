"""Makes checkpoints and model folders with damaged content, some with objects that must never be unpickled."""

import io
import json
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import clip

TINY = Path(clip.__file__).parent / "tiny"


class Evil:
    """An object whose unpickling makes a file."""

    def __init__(self, canary: Path):
        self.canary = str(canary)

    def __reduce__(self):
        return open, (self.canary, "w")


def saved(content: Any) -> bytes:
    """The bytes that torch.save writes."""
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


# Values that may take the place of a tensor or of anything else.
VALUES: dict[str, Callable[[torch.Tensor], Any]] = {
    "none": lambda old: None,
    "text": lambda old: "weights",
    "number": lambda old: 1.0,
    "list": lambda old: [1.0, 2.0],
    "dictionary": lambda old: {"a": 1},
    "nan": lambda old: torch.full_like(old, float("nan")),
    "one nan": lambda old: torch.where(torch.arange(old.numel()).view(old.shape) == 0, torch.nan, old),
    "infinity": lambda old: torch.full_like(old, float("inf")),
    "complex": lambda old: old.to(torch.complex64),
    "sparse": lambda old: old.to_sparse(),
    "boolean": lambda old: old > 0,
    "shape": lambda old: torch.zeros(3, 5, 7),
    "no elements": lambda old: old[:0],
    "scalar": lambda old: torch.tensor(0.5),
}
EQUAL = {"as it was": lambda old: old, "double": lambda old: old.double(), "not contiguous": lambda old: old.clone()}
CONTENTS: dict[str, Callable[[Path], bytes]] = {
    "empty": lambda canary: b"",
    "text": lambda canary: b"this is no checkpoint",
    "html": lambda canary: b"<!DOCTYPE html><html>404</html>",
    "pickle": lambda canary: pickle.dumps(Evil(canary)),
    "pickle in torch's zip": lambda canary: saved({"state_dict": Evil(canary), "epoch": 1}),
    "pickle in a dictionary": lambda canary: pickle.dumps({"state_dict": {"a": Evil(canary)}}),
    "old format": lambda canary: _old_format({"state_dict": Evil(canary)}),
    "zip of nothing": lambda canary: _zip({}),
    "zip of others": lambda canary: _zip({"a.txt": b"a"}),
    "zip with a pickle": lambda canary: _zip({"x/data.pkl": pickle.dumps(Evil(canary)), "x/version": b"3\n"}),
    "a list": lambda canary: saved([1, 2]),
    "nothing": lambda canary: saved(None),
    "a number": lambda canary: saved(5),
    "a tensor": lambda canary: saved(torch.zeros(3)),
    "an empty dictionary": lambda canary: saved({}),
    "a deep list": lambda canary: saved(_deep(200)),
}


def _old_format(content: Any) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=False)
    return file.getvalue()


def _zip(files: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as file:
        for name, content in files.items():
            file.writestr(name, content)
    return made.getvalue()


def _deep(depth: int) -> list:
    made: list = []
    for _ in range(depth):
        made = [made]
    return made


def replaced(content: Any, where: str, value: str) -> Any:
    """A nested dictionary with another value in some place, such as "state_dict/*" for its first tensor."""
    first, _, rest = where.partition("/")
    key = next(iter(content)) if first == "*" else first
    if value == "missing" and not rest:
        return {name: inner for name, inner in content.items() if name != key}
    if value == "additional" and not rest:
        return {**content, "additional": torch.zeros(3)}
    old = content.get(key)
    tensor = old if isinstance(old, torch.Tensor) else torch.zeros(2, 3)
    new = replaced(old, rest, value) if rest else (VALUES | EQUAL)[value](tensor)
    return {**content, key: new}


def model_folder(folder: Path) -> Path:
    """A copy of the Tiny backbone, with links to its files."""
    folder.mkdir()
    for path in TINY.iterdir():
        (folder / path.name).symlink_to(path)
    return folder


def write(path: Path, content: bytes) -> None:
    """Write a file; a link is replaced, not followed."""
    path.unlink(missing_ok=True)
    path.write_bytes(content)


def changed_json(path: Path, where: str, value: Any) -> bytes:
    """A JSON file with another value in some place."""
    content = json.loads(path.read_text())
    *parents, last = where.split("/")
    node = content
    for name in parents:
        node = node[name]
    node[last] = value
    return json.dumps(content).encode()


def copied(source: Path, target: Path) -> Path:
    return shutil.copytree(source, target)
