"""Tools for files, images, random numbers and the description of the machine.

Only the functions that need torch import it, so that programs that read results start without it.
"""

import contextlib
import errno
import hashlib
import json
import os
import platform
import random
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from dassl.errors import InputError, OutputError

__all__ = [
    "atomic_path",
    "cache_dir",
    "check_isfile",
    "collect_env_info",
    "is_temporary",
    "listdir_nohidden",
    "mkdir_if_missing",
    "read_image",
    "read_json",
    "seeded",
    "set_random_seed",
    "stream_seed",
    "write_json",
]

_CANNOT_WRITE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG}
_TEMPORARY = re.compile(r"\.(.+)\.[a-z0-9_]{8}")


def mkdir_if_missing(dirname: str) -> None:
    os.makedirs(dirname, exist_ok=True)


def check_isfile(fpath: str) -> bool:
    """Return whether a path is a file; print a message if it is not."""
    found = os.path.isfile(fpath)
    if not found:
        print(f"no file found at '{fpath}'")
    return found


def listdir_nohidden(path: str, sort: bool = False) -> list[str]:
    """List the names in a folder that do not start with a dot."""
    names = [name for name in os.listdir(path) if not name.startswith(".")]
    return sorted(names) if sort else names


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary path that replaces `path` at the end of the context, or is deleted after an exception.

    Raises:
        OutputError: `path` cannot be written, also where what is done in the context meets a full disk.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise OutputError(path, error) from error
    os.close(handle)
    umask = os.umask(0)
    os.umask(umask)
    try:
        yield Path(name)
        os.chmod(name, 0o666 & ~umask)
        os.replace(name, path)
    except OSError as error:
        # Only errors of writing: what is done in the context may also meet those of a network, for example.
        if error.errno in _CANNOT_WRITE or error.filename in (name, str(path)):
            raise OutputError(path, error) from error
        raise
    finally:
        with contextlib.suppress(OSError):
            Path(name).unlink(missing_ok=True)


def is_temporary(name: str, of: re.Pattern[str]) -> bool:
    """Whether a name is that of an unfinished file (`atomic_path`) whose final name matches a pattern."""
    found = _TEMPORARY.fullmatch(name)
    return found is not None and of.fullmatch(found[1]) is not None


def cache_dir() -> Path:
    """Return the folder for cached files: $BIOMED_DPT_CACHE, or biomed-dpt in the user's cache folder.

    Everything in it can be computed again.
    """
    own = os.environ.get("BIOMED_DPT_CACHE")
    return Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "biomed-dpt"


def read_json(fpath: str) -> object:
    """Read a JSON file."""
    with open(fpath, encoding="utf-8") as file:
        return json.load(file)


def write_json(obj: object, fpath: str) -> None:
    """Write a JSON file atomically."""
    with atomic_path(fpath) as temporary:
        temporary.write_text(json.dumps(obj, indent=2) + "\n", encoding="utf-8")


def read_image(path: str) -> Image.Image:
    """Read an image of up to 8 bits per channel as RGB; any other file raises an InputError that names it."""
    try:
        with Image.open(path) as image:
            if image.mode[0] in "IF":  # integers or floats, which Pillow would cut off at 255
                raise ValueError("it has more than 8 bits per channel")
            return image.convert("RGB")
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f"image '{path}' cannot be read ({error}); replace or remove it") from error


def set_random_seed(seed: int) -> None:
    """Seed the generators of Python, NumPy and torch, on all devices."""
    import torch

    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    torch.cuda.manual_seed_all(seed)


def stream_seed(*parts: object) -> int:
    """Return a seed below 2**32 that depends only on the parts and is the same on every machine."""
    text = "/".join(map(str, parts))
    return int.from_bytes(hashlib.blake2b(text.encode(errors="surrogateescape"), digest_size=4).digest(), "big")


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed Python's, NumPy's and torch's CPU generators for a context, and restore their states at its end."""
    import torch

    python, numpy, cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()
    random.seed(seed)
    np.random.seed(seed)
    torch.random.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(cpu)


def collect_env_info() -> str:
    """Describe versions and hardware, one per line."""
    import torch
    import torchvision

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    lines = {
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "cuda": torch.version.cuda,
        "gpu": device,
        "threads": torch.get_num_threads(),
    }
    return "\n".join(f"{name}: {value}" for name, value in lines.items())
