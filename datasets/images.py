"""The one reader of images: a file becomes an RGB image of 8 bits per channel, or an error that names it."""

import contextlib
import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError
from yacs.config import CfgNode

from dassl.config.keys import declared_keys
from dassl.errors import InputError
from datasets.dicom import SUFFIXES as DICOM_SUFFIXES
from datasets.dicom import Pixels, is_dicom, read_dicom, refuse_many_pixels
from datasets.digests import file_status

# The formats that Pillow may open, and their suffixes.
FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF")
PILLOW_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif"}
IMAGE_SUFFIXES = PILLOW_SUFFIXES | DICOM_SUFFIXES
PERCENTILES = (0.5, 99.5)
LITTLE_CONTRAST = 32  # a picture whose darkest and brightest grey levels are closer than this is said to have little
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
PLAIN_MODES = {"L", "LA", "RGB", "RGBA", "RGBX"}
KINDS = {"1": "1 bit", "P": "palette", "PA": "palette"}
# Notes that call for a warning, and what to do about them.
WARNINGS = {
    "several frames, first read": "the others are ignored; INPUT.FRAMES refuse makes this an error",
    "little contrast": "the values fill less than an eighth of the range that the files' bit depth gives them; "
    "store them with the full range, or let INPUT.DEPTH percentiles stretch each grey image between its percentiles",
}


@dataclass(frozen=True)
class ImageReader:
    """Reads image files as RGB; 8-bit images, grey or RGB, keep their values. docs/DATASETS.md has all the rules.

    Readers with the same `repr` read the same pixels.

    Attributes:
        depth: images of more than 8 bits are rescaled, by their bit depth where the file names it ("rescale") or
            always between two percentiles of the image ("percentiles"), or refused ("refuse").
        frames: of several frames the first is read ("first"), or the file is refused ("refuse").
        orientation: the orientation in the file's EXIF data is ignored ("ignore") or applied (otherwise).
        max_pixels: an image with more pixels is refused before it is decoded.
    """

    depth: str = "rescale"
    frames: str = "first"
    orientation: str = "apply"
    max_pixels: int = field(default=100_000_000, repr=False)

    def __post_init__(self) -> None:
        for field_name, value in vars(self).items():
            key = f"INPUT.{field_name.upper()}"
            declared_keys()[key].parse(value, key)

    def __call__(self, path: str) -> Image.Image:
        """Read a file.

        Raises:
            InputError: the file is missing, damaged, no image, too large, or refused by a setting.
        """
        return self._read(path)[0]

    def with_notes(self, path: str) -> tuple[Image.Image, list[str]]:
        """Read a file; returns also what `notes` does."""
        return self._read(path)

    def notes(self, path: str) -> list[str]:
        """What reading a file does beyond copying 8-bit values, in words; raises the errors that reading raises.

        JPEG files are decoded at an eighth of their size: this is faster, and still reads the whole file.
        """
        return self._read(path, reduced=True)[1]

    def _read(self, path: str, reduced: bool = False) -> tuple[Image.Image, list[str]]:
        file_status(path)  # opening a pipe or a device may never return
        with _named(path, self.max_pixels):
            if is_dicom(path, PILLOW_SUFFIXES):
                return self._rescaled(path, read_dicom(path, self.max_pixels), "DICOM, ")
            return self._read_with_pillow(path, path, reduced)

    def decode(self, content: bytes, name: str) -> Image.Image:
        """Read the content of an image file, which is not DICOM; `name` stands for its path in messages.

        Raises:
            InputError: it is damaged, no image, too large, or refused by a setting.
        """
        with _named(name, self.max_pixels):
            return self._read_with_pillow(name, io.BytesIO(content), reduced=False)[0]

    def _read_with_pillow(self, path: str, file: str | io.BytesIO, reduced: bool) -> tuple[Image.Image, list[str]]:
        if Image.MAX_IMAGE_PIXELS is not None:  # Pillow's own limit holds for the whole process
            Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, self.max_pixels)
        with Image.open(file, formats=FORMATS) as image:
            refuse_many_pixels(path, image.width * image.height, self.max_pixels)
            bits, notes = _bits(image), []
            if getattr(image, "is_animated", False):
                if self.frames == "refuse":
                    raise InputError(f"image '{path}' has several frames, and INPUT.FRAMES is 'refuse'")
                notes.append("several frames, first read")
            if reduced:
                image.draft("RGB", (64, 64))
            upright, turned = self._upright(image)
            if upright.mode[0] in "IF":  # I, I;16, I;16B, F
                rgb, more = self._rescaled(path, _deep_pixels(upright, image, bits))
            else:
                self._refuse_depth(path, bits)
                rgb, more = _shallow(upright, bits)
        return rgb, [*notes, *turned, *more]

    def _upright(self, image: Image.Image) -> tuple[Image.Image, list[str]]:
        """Load an image and apply its orientation; Pillow itself does so for the format TIFF."""
        if image.format == "TIFF":
            turn = image.tag_v2.get(ExifTags.Base.Orientation)
            image.load()
            return image, ["EXIF orientation applied"] if turn in TURNS else []
        image.load()
        turn = None
        with contextlib.suppress(OSError, SyntaxError, ValueError, TypeError, LookupError, struct.error):
            turn = image.getexif().get(ExifTags.Base.Orientation)  # damaged EXIF data do not matter
        if turn not in TURNS:
            return image, []
        if self.orientation == "ignore":
            return image, ["EXIF orientation ignored"]
        return image.transpose(TURNS[turn]), ["EXIF orientation applied"]

    def _refuse_depth(self, path: str, bits: int) -> None:
        if bits > 8 and self.depth == "refuse":
            raise InputError(
                f"image '{path}' has {bits} bits per channel, and INPUT.DEPTH is 'refuse'; store it with 8 bits"
            )

    def _rescaled(self, path: str, pixels: Pixels, prefix: str = "") -> tuple[Image.Image, list[str]]:
        self._refuse_depth(path, pixels.bits)
        values, limits, by_depth = pixels.values, pixels.limits, pixels.full_range and pixels.bits > 8
        if limits is None or (by_depth and self.depth == "percentiles"):
            how, limits, by_depth = f", percentiles {PERCENTILES[0]} to {PERCENTILES[1]}", _percentiles(values), False
        else:
            how = ", rescaled" if by_depth else ""
        notes = [f"{prefix}{pixels.kind}{how}"]
        scaled = _to_8_bit(values, *limits)
        if by_depth and np.ptp(scaled) < LITTLE_CONTRAST and values.min() < values.max():
            notes.append("little contrast")
        if pixels.inverted:
            scaled = 255 - scaled
            notes.append("inverted, as large values are dark")
        return Image.fromarray(scaled).convert("RGB"), notes


def image_reader(dataset: type, cfg: CfgNode) -> ImageReader:
    """The reader for a data set class and the settings of a run.

    With INPUT.ORIENTATION "auto" the orientation is ignored for the data sets of the paper, as in its code.
    """
    orientation = cfg.INPUT.ORIENTATION
    if orientation == "auto":
        orientation = "ignore" if getattr(dataset, "in_paper", False) else "apply"
    return ImageReader(cfg.INPUT.DEPTH, cfg.INPUT.FRAMES, orientation, cfg.INPUT.MAX_PIXELS)


def _bits(image: Image.Image) -> int:
    """Bits per channel of an opened, not yet decoded image, as its file says; 8 for fewer."""
    if image.format == "TIFF":
        return max(8, *image.tag_v2.get(ExifTags.Base.BitsPerSample, (1,)))
    return 16 if image.format == "PNG" and ";16" in str(image.tile) else 8


def _deep_pixels(image: Image.Image, opened: Image.Image, bits: int) -> Pixels:
    """The values of an image of one channel and more than 8 bits."""
    tags = opened.tag_v2 if opened.format == "TIFF" else {}
    (unsigned, *_) = tags.get(ExifTags.Base.SampleFormat, (1,))
    inverted = tags.get(ExifTags.Base.PhotometricInterpretation) == 0
    values = np.asarray(image)
    if image.mode == "F":
        return Pixels(values, bits, "float", inverted=inverted)
    if unsigned != 1 or bits > 16:
        values = values.view(np.uint32) if unsigned == 1 else values
        return Pixels(values, bits, f"{bits} bit, {'unsigned' if unsigned == 1 else 'signed'}", inverted=inverted)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        values = np.where(values == transparent, 0, values)
    return Pixels(values, bits, f"{bits} bit", (0, 2**bits - 1), full_range=True, inverted=inverted)


def _shallow(image: Image.Image, bits: int) -> tuple[Image.Image, list[str]]:
    """RGB from an image of 8 bits per channel, or of 16, of which Pillow decodes the upper 8; transparent is black."""
    notes = [] if image.mode in PLAIN_MODES else [f"{KINDS.get(image.mode, image.mode)}, converted"]
    if bits > 8:
        notes.append(f"{bits} bit colour, upper 8 bits")
        extrema = [value for band in image.convert("RGB").getextrema() for value in band]
        notes += ["little contrast"] if max(extrema) - min(extrema) < LITTLE_CONTRAST else []
    if not image.has_transparency_data:
        return image.convert("RGB"), notes
    rgba = image.convert("RGBA")
    alpha = rgba.getchannel("A")
    if alpha.getextrema()[0] == 255:
        return rgba.convert("RGB"), notes
    black = Image.new("RGB", image.size)
    black.paste(rgba.convert("RGB"), mask=alpha)
    return black, [*notes, "transparency, on black"]


def _percentiles(values: np.ndarray) -> tuple[float, float]:
    """The values of an image that become black and white: two percentiles or, if these are equal, the extremes."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        raise ValueError("it has no finite values")
    low, high = np.percentile(finite, PERCENTILES)
    return (low, high) if low < high else (finite.min(), finite.max())


def _to_8_bit(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Values from `low` to `high` as 0 ... 255, rounded; values outside are clipped, and NaN is 0."""
    if values.dtype == np.uint16 and values.size > 2**16:
        return _to_8_bit(np.arange(2**16), low, high)[values]
    if low == high:
        return np.zeros(values.shape, np.uint8)
    scaled = np.clip(values.astype(np.float64), *sorted((low, high)))
    scaled -= low
    scaled *= 255 / (high - low)
    return np.rint(np.nan_to_num(scaled, copy=False)).astype(np.uint8)


@contextlib.contextmanager
def _named(path: str, max_pixels: int) -> Iterator[None]:
    """Turn what a decoder raises into an InputError that names the file."""
    try:
        yield
    except InputError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InputError(
            f"image '{path}' has more than INPUT.MAX_PIXELS ({max_pixels:,}) pixels; make it smaller, or raise the "
            "setting"
        ) from error
    except Exception as error:  # a decoder may raise anything on a damaged file
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        if isinstance(error, UnidentifiedImageError):
            reason = f"it is none of {', '.join(FORMATS)} and DICOM, or its first bytes are damaged"
        raise InputError(f"image '{path}' cannot be read ({reason}); replace or remove it") from error
