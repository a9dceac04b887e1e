"""Makes image files: a ramp from dark to bright in every mode and format, and files that are no images."""

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 40, 24
RAMP = np.tile(np.linspace(0, 255, WIDTH).astype(np.uint8), (HEIGHT, 1))
GREY = Image.fromarray(RAMP)
Make = Callable[[], bytes]


def saved(image: Image.Image, form: str, **words) -> bytes:
    """The bytes of an image file."""
    file = io.BytesIO()
    image.save(file, form, **words)
    return file.getvalue()


def in_mode(mode: str, form: str, **words) -> Make:
    return lambda: saved(GREY.convert("RGB").convert(mode), form, **words)


def of_values(values: np.ndarray, form: str, **words) -> Make:
    return lambda: saved(Image.fromarray(values), form, **words)


def frames(form: str) -> Make:
    return lambda: saved(GREY, form, save_all=True, append_images=[Image.new("L", GREY.size, 9)])


def turned(orientation: int) -> Make:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return lambda: saved(GREY, "JPEG", exif=exif, quality=95)


DEEP = RAMP.astype(np.uint16) * 257
RAMPS: dict[str, tuple[str, Make]] = {
    "png L": (".png", in_mode("L", "PNG")),
    "png RGB": (".png", in_mode("RGB", "PNG")),
    "png RGBA": (".png", in_mode("RGBA", "PNG")),
    "png LA": (".png", in_mode("LA", "PNG")),
    "png P": (".png", in_mode("P", "PNG")),
    "png 16": (".png", of_values(DEEP, "PNG")),
    "png in capitals": (".PNG", in_mode("L", "PNG")),
    "jpeg L": (".jpg", in_mode("L", "JPEG")),
    "jpeg RGB": (".jpeg", in_mode("RGB", "JPEG", quality=95)),
    "jpeg CMYK": (".jpg", in_mode("CMYK", "JPEG", quality=95)),
    "jpeg progressive": (".jpg", in_mode("RGB", "JPEG", progressive=True)),
    "jpeg turned by 180": (".jpg", turned(3)),
    "bmp": (".bmp", in_mode("RGB", "BMP")),
    "bmp P": (".bmp", in_mode("P", "BMP")),
    "webp": (".webp", in_mode("RGB", "WEBP", lossless=True)),
    "tiff L": (".tif", in_mode("L", "TIFF")),
    "tiff RGB": (".tiff", in_mode("RGB", "TIFF")),
    "tiff lzw": (".tif", in_mode("RGB", "TIFF", compression="tiff_lzw")),
    "tiff 16": (".tif", of_values(DEEP, "TIFF")),
    "tiff int32": (".tif", of_values(RAMP.astype(np.int32) * 70_000, "TIFF")),
    "tiff negative": (".tif", of_values(RAMP.astype(np.int32) - 1000, "TIFF")),
    "tiff float": (".tif", of_values((RAMP / 255).astype(np.float32), "TIFF")),
    "tiff float large": (".tif", of_values((RAMP * 1e4).astype(np.float32), "TIFF")),
    "tiff two frames": (".tif", frames("TIFF")),
    "gif": (".gif", in_mode("L", "GIF")),
    "gif two frames": (".gif", frames("GIF")),
    "png 1": (".png", in_mode("1", "PNG")),
}


def png_of_size(width: int, height: int) -> bytes:
    """A PNG whose header names a size that its few bytes do not fill."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(9))) + chunk(b"IEND", b"")


NO_IMAGES: dict[str, tuple[str, Make]] = {
    "empty": (".png", lambda: b""),
    "text": (".png", lambda: b"this is no image"),
    "html": (".jpg", lambda: b"<!DOCTYPE html><html><body>404</body></html>"),
    "zeros": (".png", lambda: bytes(1000)),
    "png magic": (".png", lambda: b"\x89PNG\r\n\x1a\n"),
    "png half": (".png", lambda: saved(GREY, "PNG")[: len(saved(GREY, "PNG")) // 2]),
    "jpeg half": (".jpg", lambda: saved(GREY, "JPEG")[: len(saved(GREY, "JPEG")) // 2]),
    "bmp half": (".bmp", lambda: saved(GREY, "BMP")[:600]),
    "tiff half": (".tif", lambda: saved(GREY, "TIFF")[:400]),
    "gif half": (".gif", lambda: saved(GREY, "GIF")[:300]),
    "webp half": (".webp", lambda: saved(GREY, "WEBP", lossless=True)[:40]),
    "bomb": (".png", lambda: png_of_size(60_000, 60_000)),
    "bomb in one line": (".png", lambda: png_of_size(2**31 - 1, 1)),
    "no size": (".png", lambda: png_of_size(0, 0)),
    "too many pixels": (".png", lambda: saved(Image.new("1", (12_000, 9_000)), "PNG")),
    "svg": (".png", lambda: b'<svg xmlns="http://www.w3.org/2000/svg"/>'),
    "eps": (".png", lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n"),
    "pdf": (".png", lambda: b"%PDF-1.4\n%%EOF\n"),
    "npy": (".png", lambda: b"\x93NUMPY\x01\x00v\x00{'descr': '|u1'}"),
    "ppm": (".png", lambda: saved(GREY, "PPM")),
    "ico": (".png", lambda: saved(GREY.resize((16, 16)), "ICO")),
    "pcx": (".png", lambda: saved(GREY, "PCX")),
    "pickle": (".png", lambda: b"cos\nsystem\n(S'true'\ntR."),
}


def dicom(frames: int = 1, falling: bool = False, pixels: bool = True, bits: int = 12) -> bytes:
    """A DICOM file of the ramp; `falling` for MONOCHROME1, in which large values are dark."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = SecondaryCaptureImageStorage
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid(entropy_srcs=["fuzz"])
    data.Rows, data.Columns, data.SamplesPerPixel, data.PixelRepresentation = HEIGHT, WIDTH, 1, 0
    data.PhotometricInterpretation = "MONOCHROME1" if falling else "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, bits, bits - 1
    if frames > 1:
        data.NumberOfFrames = frames
    if pixels:
        data.PixelData = (DEEP >> (16 - bits)).tobytes() * frames
    file = io.BytesIO()
    data.save_as(file, enforce_file_format=True)
    return file.getvalue()


def is_ramp(picture: Image.Image, falling: bool = False) -> bool:
    """Whether a picture rises from dark to bright over most of the range, as the files of RAMPS do."""
    profile = np.asarray(picture.convert("RGB"), dtype=float).mean((0, 2))
    profile = profile[::-1] if falling else profile
    smooth = profile.reshape(8, -1).mean(1)
    return picture.size == (WIDTH, HEIGHT) and bool((np.diff(smooth) > 5).all()) and smooth[-1] - smooth[0] > 150
