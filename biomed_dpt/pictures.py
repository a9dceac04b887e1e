"""Images in memory: each is turned into the content of an image file, so that one reader reads every image."""

import hashlib
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image

from dassl.errors import InputError, first_line, shown
from dassl.utils import atomic_path
from datasets.images import ImageReader

PNG_MODES = {"1", "L", "LA", "P", "RGB", "RGBA"}
GREY, COLOUR = (1,), (3, 4)  # numbers of channels
FORMS = "a path, a PIL image, an array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), or a tensor (H, W) or (C, H, W)"


def picture_of(value: Any, reader: ImageReader, name: str = "in memory") -> Image.Image:
    """One image as RGB of 8 bits: the same pixels as if it was stored as a file and read by `reader`.

    Args:
        value: a path; a PIL image; an array (H, W[, 1 | 3 | 4]), uint8, uint16, bool, another integer or float, or a
            tensor with channels first. Values of one channel are stored as they are: the reader's rules for files of 8
            bits, 16 bits, integers and floats hold. Colours have 8 bits, 16 bits (of which the upper 8 are used) or
            floats from 0 to 1.
        reader: reads files.
        name: stands for the path of an image in memory, in messages.

    Raises:
        InputError: the value is no image, or the reader refuses it.
    """
    if isinstance(value, str | os.PathLike):
        return reader(os.fspath(value))
    picture = _picture(value, name)
    plain = picture.mode in ("L", "RGB") and not _turn(picture) and "transparency" not in picture.info
    if plain and picture.width * picture.height <= reader.max_pixels:
        return picture.convert("RGB")  # faster than through a file, and the same
    return reader.decode(_file_of(picture)[0], name)


def stored(values: Sequence[Any], folder: Path, reader: ImageReader, name: str) -> list[str]:
    """The path of each image; those in memory are written to a folder, without loss, under the digest of their content.

    Args:
        values: images, as `picture_of` takes them.
        folder: for the files.
        reader: every image in memory is read, so that an error names it by its place.
        name: of the list, in messages.

    Raises:
        InputError: a value is no image, or cannot be read.
        OutputError: a file cannot be written.
    """
    paths = []
    for place, value in enumerate(values):
        if isinstance(value, str | os.PathLike):
            paths.append(os.fspath(value))
            continue
        picture_of(value, reader, f"{name}[{place}]")
        content, suffix = _file_of(_picture(value, f"{name}[{place}]"))
        path = folder / f"{hashlib.sha256(content).hexdigest()[:32]}{suffix}"
        if not path.is_file():
            with atomic_path(path) as temporary:
                temporary.write_bytes(content)
        paths.append(str(path))
    return paths


def _file_of(picture: Image.Image) -> tuple[bytes, str]:
    """The content of a file that holds an image without loss, and its suffix."""
    file, exif = io.BytesIO(), Image.Exif()
    if turn := _turn(picture):
        exif[ExifTags.Base.Orientation] = turn
    if picture.mode[0] in "IF":
        picture.save(file, "TIFF", exif=exif)
        return file.getvalue(), ".tif"
    picture = picture if picture.mode in PNG_MODES else picture.convert("RGB")
    picture.save(file, "PNG", exif=exif, compress_level=1)
    return file.getvalue(), ".png"


def _turn(picture: Image.Image) -> int | None:
    """The orientation in the EXIF data of an image that was opened from a file; Pillow has applied that of a TIFF."""
    return None if picture.format == "TIFF" else picture.getexif().get(ExifTags.Base.Orientation)


def _picture(value: Any, name: str) -> Image.Image:
    """A PIL image with the values of an image in memory."""
    if isinstance(value, Image.Image):
        try:
            value.load()
        except Exception as error:  # a decoder may raise anything on a damaged file
            raise InputError(f"image '{name}' cannot be read ({first_line(error)}); replace or remove it") from error
        return value
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        value = (value.float() if value.dtype == torch.bfloat16 else value).numpy()
        if value.ndim == 3 and value.shape[0] not in GREY + COLOUR:
            raise InputError(f"image '{name}' is a tensor of shape {value.shape}; channels come first: (C, H, W)")
        value = np.moveaxis(value, 0, -1) if value.ndim == 3 else value
    if not isinstance(value, np.ndarray):
        raise InputError(f"image '{name}' is {shown(value)}; it must be {FORMS}")
    if value.ndim == 3 and value.shape[2] in GREY:
        value = value[:, :, 0]
    if not value.size or not (value.ndim == 2 or (value.ndim == 3 and value.shape[2] in COLOUR)):
        raise InputError(f"image '{name}' is an array of shape {value.shape}; it must be {FORMS}")
    return Image.fromarray(np.ascontiguousarray(_grey(value, name) if value.ndim == 2 else _colours(value, name)))


def _grey(values: np.ndarray, name: str) -> np.ndarray:
    """Values (H, W) in a type that a file can hold: uint8, uint16, int32 or float32."""
    if values.dtype == bool:
        return values.astype(np.uint8) * 255
    if values.dtype in (np.uint8, np.uint16):
        return values
    if values.dtype.kind in "iu":
        limits = np.iinfo(np.int32)
        if values.min() < limits.min or values.max() > limits.max:
            raise InputError(f"image '{name}' has values of more than 32 bits; divide them")
        return values.astype(np.int32)
    if values.dtype.kind == "f":
        return values.astype(np.float32)
    raise InputError(f"image '{name}' is an array of type {values.dtype}; it must hold integers or floats")


def _colours(values: np.ndarray, name: str) -> np.ndarray:
    """Colours (H, W, 3 | 4) as uint8: of 16 bits the upper 8, as in files; of floats 255 times the value, rounded."""
    if values.dtype == np.uint16:
        return (values >> 8).astype(np.uint8)
    if values.dtype.kind == "f" and values.min() >= 0 and values.max() <= 1:
        return np.rint(values * 255.0).astype(np.uint8)
    if values.dtype.kind in "iu" and values.min() >= 0 and values.max() <= 255:
        return values.astype(np.uint8)
    raise InputError(
        f"image '{name}' has colours of type {values.dtype} from {values.min()} to {values.max()}; they must be "
        "integers from 0 to 255, uint16, or floats from 0 to 1"
    )
