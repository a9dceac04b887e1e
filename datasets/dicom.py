"""The pixels of a DICOM file as they are to be displayed. pydicom is loaded only for such a file."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dassl.errors import InputError

SUFFIXES = {".dcm", ".dicom"}
MAGIC, MAGIC_PLACE = b"DICM", 128
# The parts of an enhanced file's functional groups that other files have at their top.
GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
PARTS = ("PixelValueTransformationSequence", "FrameVOILUTSequence")


class Pixels(NamedTuple):
    """Values of one channel (H, W) or three (H, W, 3), and how they are displayed.

    Attributes:
        values: integers or floats.
        bits: bits of a stored value.
        kind: what the values are, in words.
        limits: the values that are displayed as black and as white; None where the file does not say.
        full_range: whether these are the ends of what the stored bits can hold, used or not.
        inverted: whether the larger values are the darker ones.
    """

    values: np.ndarray
    bits: int
    kind: str
    limits: tuple[float, float] | None = None
    full_range: bool = False
    inverted: bool = False


def is_dicom(path: str, other_suffixes: set[str]) -> bool:
    """Whether a file is read as DICOM: by its suffix, or by its content if the suffix is not one of the others."""
    suffix = Path(path).suffix.lower()
    if suffix in SUFFIXES or suffix in other_suffixes:
        return suffix in SUFFIXES
    with open(path, "rb") as file:
        return file.read(MAGIC_PLACE + len(MAGIC))[MAGIC_PLACE:] == MAGIC


def read_dicom(path: str, max_pixels: int) -> Pixels:
    """Read the only frame of a DICOM file.

    The modality LUT (or rescale slope and intercept) is applied, then the first VOI LUT or window. YBR and palette
    colours become RGB. A damaged file can raise exceptions of any kind.

    Raises:
        InputError: pydicom is not installed; the file is deflated, or has several frames or too many pixels.
    """
    try:
        from pydicom import dcmread
        from pydicom.errors import InvalidDicomError
        from pydicom.filereader import read_file_meta_info
        from pydicom.pixels import apply_color_lut, pixel_array
        from pydicom.uid import DeflatedExplicitVRLittleEndian
    except ImportError as error:
        raise InputError(
            f"image '{path}' is a DICOM file; to read such files: pip install -r requirements-dicom.txt ({error})"
        ) from error
    try:
        syntax = read_file_meta_info(path).get("TransferSyntaxUID")
    except InvalidDicomError as error:
        raise InputError(f"image '{path}' does not start like a DICOM file; replace or remove it") from error
    if syntax == DeflatedExplicitVRLittleEndian:  # pydicom would inflate it before its size is known
        raise InputError(f"image '{path}' is a deflated DICOM file; store it without deflation")
    header = dcmread(path, stop_before_pixels=True)
    if "Rows" not in header:
        raise InputError(f"image '{path}' is a DICOM file without an image; remove it")
    frames = int(header.get("NumberOfFrames") or 1)
    if frames > 1:
        raise InputError(
            f"image '{path}' has {frames} frames; store the frame that is meant as a file of its own, DICOM or PNG"
        )
    refuse_many_pixels(path, header.Rows * header.Columns, max_pixels)
    for group in (item for name in GROUPS for item in header.get(name) or ()):
        for part in (item for name in PARTS for item in group.get(name) or ()):
            header.update(part)
    try:
        values = pixel_array(path)
    except (RuntimeError, NotImplementedError) as error:  # no decoder for its compression, or damaged pixel data
        reason = " ".join(str(error).split())[:300]
        raise InputError(
            f"image '{path}' cannot be decoded ({reason}); install one of the packages named, or store it uncompressed"
        ) from error
    if header.PhotometricInterpretation == "PALETTE COLOR":
        values = apply_color_lut(values, header)
        bits = 8 * values.itemsize
        return Pixels(values, bits, "palette", (0, 2**bits - 1))
    if values.ndim == 3:
        bits = header.BitsStored
        return Pixels(values, bits, f"{bits} bit colour", (0, 2**bits - 1), full_range=True)
    return _grey(values, header)._replace(inverted=header.PhotometricInterpretation == "MONOCHROME1")


def refuse_many_pixels(path: str, pixels: int, max_pixels: int) -> None:
    if pixels > max_pixels:
        raise InputError(
            f"image '{path}' has {pixels:,} pixels, more than INPUT.MAX_PIXELS ({max_pixels:,}); make it smaller, or "
            "raise the setting"
        )


def _grey(values: np.ndarray, header: Any) -> Pixels:
    """Grey values after modality and VOI LUT."""
    from pydicom.pixels import apply_modality_lut, apply_voi_lut, apply_windowing

    if values.dtype.kind == "f":
        return Pixels(values, 8 * values.itemsize, "float")
    bits, signed = header.BitsStored, bool(header.PixelRepresentation)
    kind = f"{bits} bit"
    values = apply_modality_lut(values, header)
    voi = next(iter(header.get("VOILUTSequence") or ()), {})
    if "LUTDescriptor" in voi and "LUTData" in voi:
        return Pixels(apply_voi_lut(values, header), bits, f"{kind}, VOI LUT", (0, 2 ** voi.LUTDescriptor[2] - 1))
    if header.get("WindowCenter") is not None and header.get("WindowWidth") is not None:
        # pydicom's output range depends on the modality LUT; values beyond both ends of the window show it.
        low, high = apply_windowing(np.array([-np.inf, np.inf]), header)
        return Pixels(apply_windowing(values, header), bits, f"{kind}, window", (low, high))
    if header.get("ModalityLUTSequence"):
        return Pixels(values, bits, kind, (0, 2 ** header.ModalityLUTSequence[0].LUTDescriptor[2] - 1), full_range=True)
    if bits + signed > 16:
        return Pixels(values, bits, f"{kind}, signed" if signed else kind)
    first = -(2 ** (bits - 1)) if signed else 0
    low, high = sorted(apply_modality_lut(np.array([first, first + 2**bits - 1]), header))
    return Pixels(values, bits, kind, (low, high), full_range=True)
