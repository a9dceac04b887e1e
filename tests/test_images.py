"""The reader of images: pixel values by hand for every kind of file, what it refuses, and what runs say of it."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from configs import Choice, build_cfg
from dassl.data.datasets import DATASET_REGISTRY, DatasetBase, build_image_reader
from dassl.errors import InputError
from dassl.utils import read_image
from datasets.btmri import BTMRI
from datasets.folder import Folder
from datasets.images import ImageReader, image_reader

GREY = np.arange(0, 256, dtype=np.uint8).reshape(16, 16)
COLOUR = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)


def read(path, **settings):
    """The first channel of an image whose channels agree, as integers."""
    values = np.asarray(ImageReader(**settings)(str(path))).astype(int)
    assert (values == values[..., :1]).all()
    return values[..., 0]


def saved(path, values, **options):
    """An image file of an array, or of an image."""
    image = values if isinstance(values, Image.Image) else Image.fromarray(values)
    image.save(path, **options)
    return path


def png(path, bits, colour_type, rows, *chunks, width=None, height=None):
    """A PNG file from the bytes of its rows."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width or len(rows[0]), height or len(rows), bits, colour_type, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + np.asarray(row).tobytes() for row in rows)))
    parts = [chunk(b"IHDR", header), *(chunk(*pair) for pair in chunks), body, chunk(b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    return path


def tiff(path, width, height, bits, content, photometric=1, sample_format=1):
    """An uncompressed little-endian TIFF file of one channel."""
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: photometric, 273: 8, 277: 1, 278: height}
    tags |= {279: len(content), 339: sample_format}
    entries = b"".join(
        struct.pack("<HHII", tag, 4 if tag in (273, 279) else 3, 1, value) for tag, value in tags.items()
    )
    directory = struct.pack("<H", len(tags)) + entries + b"\0\0\0\0"
    path.write_bytes(b"II*\0" + struct.pack("<I", 8 + len(content)) + content + directory)
    return path


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.bmp", "a.tif", "a.webp"])
@pytest.mark.parametrize("values", [GREY, COLOUR], ids=["grey", "rgb"])
def test_8_bit_images_are_read_as_before(tmp_path, name, values):
    path = saved(tmp_path / name, values)
    with Image.open(path) as image:
        expected = image.convert("RGB")
    assert np.array_equal(ImageReader()(str(path)), expected)
    assert np.array_equal(read_image(str(path)), expected)
    assert ImageReader().notes(str(path)) == []


def test_16_bits_and_8_bits_lead_to_the_same_picture(tmp_path):
    deep = GREY.astype(np.uint16) * 257
    big = tmp_path / "big.tif"
    saved(big, Image.frombytes("I;16B", (16, 16), deep.astype(">u2").tobytes()))
    files = [
        saved(tmp_path / "a.png", deep),
        saved(tmp_path / "a.tif", deep),
        big,
        saved(tmp_path / "packed.tif", deep, compression="tiff_lzw"),
        png(tmp_path / "b.png", 16, 0, deep.astype(">u2")),
    ]
    for path in files:
        assert (read(path) == GREY).all(), path
        assert ImageReader().notes(str(path)) == ["16 bit, rescaled"]
    noisy = np.random.default_rng(1).integers(0, 2**16, (300, 300), np.uint16)  # large enough for the table
    assert (read(saved(tmp_path / "noisy.png", noisy)) == np.rint(noisy / 257)).all()


def test_the_bits_that_a_tiff_file_names_are_its_range(tmp_path):
    values = [0, 1, 2047, 4095]
    packed = int("".join(f"{value:012b}" for value in values), 2).to_bytes(6, "big")
    path = tiff(tmp_path / "a.tif", 4, 1, 12, packed)
    assert read(path).tolist() == [[0, 0, 127, 255]]
    assert ImageReader().notes(str(path)) == ["12 bit, rescaled"]


def test_white_is_zero(tmp_path):
    path = tiff(tmp_path / "a.tif", 3, 1, 16, struct.pack("<3H", 0, 257 * 100, 65535), photometric=0)
    assert read(path).tolist() == [[255, 155, 0]]
    assert ImageReader().notes(str(path)) == ["16 bit, rescaled", "inverted, as large values are dark"]


def test_a_transparent_value_of_16_bits_is_black(tmp_path):
    path = png(tmp_path / "a.png", 16, 0, np.array([[0, 257, 65535]], ">u2"), (b"tRNS", struct.pack(">H", 65535)))
    assert read(path).tolist() == [[0, 1, 0]]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (np.arange(1001, dtype=np.int32) * 1000 - 500_000, "32 bit, signed"),
        (np.arange(1001, dtype=np.float32) / 1000 - 7, "float"),
    ],
)
def test_other_numbers_are_rescaled_between_two_percentiles(tmp_path, values, kind):
    path = saved(tmp_path / "a.tif", values[None])
    expected = np.rint(np.clip((np.arange(1001) - 5) / 990, 0, 1) * 255)  # the percentiles are entries 5 and 995
    assert abs(read(path)[0] - expected).max() <= 1
    assert ImageReader().notes(str(path)) == [f"{kind}, percentiles 0.5 to 99.5"]


def test_signed_16_bits_and_unsigned_32_bits(tmp_path):
    path = tiff(tmp_path / "a.tif", 3, 1, 16, struct.pack("<3h", -1000, 0, 1000), sample_format=2)
    assert read(path).tolist() == [[0, 128, 255]]
    path = tiff(tmp_path / "b.tif", 3, 1, 32, struct.pack("<3I", 0, 2**31, 2**32 - 1))
    assert read(path).tolist() == [[0, 128, 255]]


def test_float_images_without_usable_percentiles(tmp_path):
    spot = np.zeros((20, 20), np.float32)
    spot[3, 4] = 7
    assert read(saved(tmp_path / "spot.tif", spot)).tolist() == (spot * 255 / 7).tolist()
    assert not read(saved(tmp_path / "flat.tif", np.full((2, 2), 3, np.float32))).any()
    mixed = np.array([[0, 1, np.nan, np.inf, -np.inf]], np.float32)
    assert read(saved(tmp_path / "mixed.tif", mixed)).tolist() == [[0, 255, 0, 255, 0]]
    path = saved(tmp_path / "nan.tif", np.full((2, 2), np.nan, np.float32))
    with pytest.raises(InputError, match=r"nan.tif' cannot be read \(it has no finite values\)"):
        read(path)


def test_12_bits_in_a_16_bit_file_are_said_to_have_little_contrast(tmp_path):
    values = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    path = saved(tmp_path / "a.png", values)
    assert read(path).max() == 16  # the file says that white is 65,535
    assert ImageReader().notes(str(path)) == ["16 bit, rescaled", "little contrast"]
    stretched = read(path, depth="percentiles")
    assert (stretched.min(), stretched.max(), stretched[32, 0]) == (0, 255, 128)
    assert ImageReader(depth="percentiles").notes(str(path)) == ["16 bit, percentiles 0.5 to 99.5"]
    assert "little contrast" not in ImageReader().notes(str(saved(tmp_path / "b.png", values * 0)))


def test_16_bit_colour_keeps_its_upper_8_bits(tmp_path):
    deep = COLOUR.astype(np.uint16) * 257
    rows = list(deep.astype(">u2"))
    path = png(tmp_path / "a.png", 16, 2, rows)
    assert np.array_equal(ImageReader()(str(path)), COLOUR)
    assert ImageReader().notes(str(path)) == ["16 bit colour, upper 8 bits"]
    dark = png(tmp_path / "b.png", 16, 2, [(row // 256).astype(">u2") for row in rows])
    assert ImageReader().notes(str(dark)) == ["16 bit colour, upper 8 bits", "little contrast"]
    with pytest.raises(InputError, match=r"a.png' has 16 bits per channel, and INPUT.DEPTH is 'refuse'"):
        ImageReader(depth="refuse")(str(path))


def test_depth_can_be_refused(tmp_path):
    for values in (GREY.astype(np.uint16), GREY.astype(np.int32), GREY.astype(np.float32)):
        path = saved(tmp_path / "a.tif", values)
        with pytest.raises(InputError, match=r"a.tif' has (16|32) bits per channel.* store it with 8 bits"):
            ImageReader(depth="refuse")(str(path))
    assert (read(saved(tmp_path / "b.tif", GREY), depth="refuse") == GREY).all()


def test_transparent_is_black(tmp_path):
    alpha = np.array([[255, 128, 0]], np.uint8)
    grey = np.full((1, 3), 200, np.uint8)
    expected = [[200, 100, 0]]
    for values in (np.dstack([grey, alpha]), np.dstack([grey, grey, grey, alpha])):
        path = saved(tmp_path / "a.png", Image.fromarray(values))
        assert read(path).tolist() == expected
        assert ImageReader().notes(str(path)) == ["transparency, on black"]
        opaque = saved(tmp_path / "b.png", Image.fromarray(values[:, :1]))
        assert read(opaque).tolist() == [[200]]
        assert ImageReader().notes(str(opaque)) == []
    key = png(tmp_path / "c.png", 8, 0, np.array([[200, 7]], np.uint8), (b"tRNS", struct.pack(">H", 200)))
    assert read(key).tolist() == [[0, 7]]


def test_palettes_cmyk_and_1_bit(tmp_path):
    palette = Image.fromarray(np.array([[0, 1, 2]], np.uint8), "L").convert("P")
    palette.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    path = saved(tmp_path / "a.png", palette)
    assert np.asarray(ImageReader()(str(path))).tolist() == [[[10, 20, 30], [40, 50, 60], [70, 80, 90]]]
    assert ImageReader().notes(str(path)) == ["palette, converted"]
    saved(path, palette, transparency=bytes([255, 0, 255]))
    assert np.asarray(ImageReader()(str(path))).tolist() == [[[10, 20, 30], [0, 0, 0], [70, 80, 90]]]
    assert ImageReader().notes(str(path)) == ["palette, converted", "transparency, on black"]
    path = saved(tmp_path / "b.png", Image.fromarray(np.array([[True, False]])))
    assert read(path).tolist() == [[255, 0]]
    assert ImageReader().notes(str(path)) == ["1 bit, converted"]
    ink = Image.fromarray(np.array([[[0, 255, 255, 0], [0, 0, 0, 255], [0, 0, 0, 0]]], np.uint8), "CMYK")
    path = saved(tmp_path / "c.tif", ink)
    assert np.asarray(ImageReader()(str(path))).tolist() == [[[255, 0, 0], [0, 0, 0], [255, 255, 255]]]
    assert ImageReader().notes(str(path)) == ["CMYK, converted"]


@pytest.mark.parametrize("name", ["a.tif", "a.gif", "a.png", "a.webp"])
def test_of_several_frames_the_first_is_read(tmp_path, name):
    frames = [Image.new("RGB", (4, 4), (shade,) * 3) for shade in (255, 0)]
    path = saved(tmp_path / name, frames[0], save_all=True, append_images=frames[1:])
    assert read(path).min() == 255
    assert "several frames, first read" in ImageReader().notes(str(path))
    with pytest.raises(InputError, match=f"{name}' has several frames, and INPUT.FRAMES is 'refuse'"):
        ImageReader(frames="refuse")(str(path))


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp"])
def test_exif_orientation(tmp_path, name):
    values = np.zeros((16, 32), np.uint8)
    values[:8, :16] = 255  # the bright corner is at the top left
    corners = {1: (0, 0), 2: (0, -1), 3: (-1, -1), 4: (-1, 0), 5: (0, 0), 6: (0, -1), 7: (-1, -1), 8: (-1, 0)}
    for turn, (row, column) in corners.items():
        exif = Image.Exif()
        exif[274] = turn
        options = {"lossless": True} if name == "a.webp" else {}
        path = saved(tmp_path / name, values, exif=exif, **options)
        upright = read(path)
        assert upright.shape == ((16, 32) if turn < 5 else (32, 16))
        assert [upright[i, j] > 127 for i in (0, -1) for j in (0, -1)] == [
            (i, j) == (row, column) for i in (0, -1) for j in (0, -1)
        ]
        plain = read(path, orientation="ignore")
        assert plain.shape == (16, 32)
        assert plain[0, 0] > 127
        word = "applied", "ignored"
        for orientation, done in zip(("apply", "ignore"), word, strict=True):
            expected = [f"EXIF orientation {done}"] if turn > 1 else []
            assert ImageReader(orientation=orientation).notes(str(path)) == expected


def test_damaged_exif_data_do_not_matter(tmp_path):
    path = saved(tmp_path / "a.jpg", GREY, exif=b"Exif\0\0MM\0*\xff\xff\xff\xffgarbage")
    assert read(path).shape == (16, 16)


def test_orientation_is_applied_for_ones_own_images_only():
    cfg = build_cfg(Choice("ZeroShot"))
    assert image_reader(BTMRI, cfg).orientation == "ignore"
    assert image_reader(Folder, cfg).orientation == "apply"
    assert image_reader(type("Theirs", (DatasetBase,), {}), cfg).orientation == "apply"
    assert build_image_reader(cfg) == image_reader(DATASET_REGISTRY.get("Phantom"), cfg)
    cfg = build_cfg(Choice("ZeroShot", opts=["INPUT.ORIENTATION", "apply", "INPUT.MAX_PIXELS", "9"]))
    assert image_reader(BTMRI, cfg) == ImageReader(orientation="apply", max_pixels=9)
