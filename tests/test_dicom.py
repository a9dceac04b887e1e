"""DICOM files made with pydicom, and those that it ships: pixel values by hand."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dassl.errors import InputError
from datasets.images import ImageReader
from tests.test_images import GREY, read, saved

pydicom = pytest.importorskip("pydicom", reason="reading DICOM files is optional: requirements-dicom.txt")
RAMP = np.array([[0, 1000, 2000, 3000, 4095]], np.uint16)


def dicom(path, values, bits=12, photometric="MONOCHROME2", **attributes):
    """A DICOM file of an array, with further attributes by their keywords."""
    from pydicom.dataset import FileMetaDataset

    dataset = pydicom.Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.SOPClassUID = pydicom.uid.SecondaryCaptureImageStorage
    dataset.SOPInstanceUID = pydicom.uid.generate_uid()
    dataset.set_pixel_data(values, photometric, bits)
    for name, value in attributes.items():
        setattr(dataset, name, value)
    dataset.save_as(path, enforce_file_format=True)
    return path


def item(**attributes):
    dataset = pydicom.Dataset()
    for name, value in attributes.items():
        setattr(dataset, name, value)
    return dataset


def words(*values):
    return np.array(values, "<u2").tobytes()


def notes(path):
    return ImageReader().notes(str(path))


def test_12_bit_dicom_16_bit_png_and_8_bits_lead_to_the_same_picture(tmp_path):
    full = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    of_dicom = read(dicom(tmp_path / "a.dcm", full))
    of_png = read(saved(tmp_path / "a.png", (full * (65535 / 4095)).astype(np.uint16)))
    of_8_bits = read(saved(tmp_path / "b.png", (full // 16).astype(np.uint8)))
    assert abs(of_dicom - of_png).max() <= 1
    assert abs(of_dicom - of_8_bits).max() <= 1
    assert notes(tmp_path / "a.dcm") == ["DICOM, 12 bit, rescaled"]
    whole = dicom(tmp_path / "c.dcm", full, WindowCenter=2048, WindowWidth=4096)
    assert abs(read(whole) - of_dicom).max() <= 1


def test_window(tmp_path):
    path = dicom(tmp_path / "a.dcm", RAMP, WindowCenter=[2000.5, 9], WindowWidth=[2001, 9])
    assert read(path).tolist() == [[0, 0, 128, 255, 255]]  # from 1000 to 3000
    assert notes(path) == ["DICOM, 12 bit, window"]
    exact = dicom(tmp_path / "b.dcm", RAMP, WindowCenter=2000, WindowWidth=4000, VOILUTFunction="LINEAR_EXACT")
    assert read(exact).tolist() == [[0, 64, 128, 191, 255]]
    sigmoid = dicom(tmp_path / "c.dcm", RAMP, WindowCenter=2000, WindowWidth=2000, VOILUTFunction="SIGMOID")
    expected = 255 / (1 + np.exp(-4 * (RAMP.astype(float) - 2000) / 2000))
    assert abs(read(sigmoid) - expected).max() <= 0.5


def test_rescale_slope_and_intercept(tmp_path):
    hounsfield = {"RescaleSlope": 2, "RescaleIntercept": -1000}
    path = dicom(tmp_path / "a.dcm", RAMP, **hounsfield, WindowCenter=1000.5, WindowWidth=4001)
    assert read(path).tolist() == [[0, 128, 255, 255, 255]]  # -1000, 1000, 3000 in a window from -1000 to 3000
    assert (read(dicom(tmp_path / "b.dcm", RAMP, **hounsfield)) == read(dicom(tmp_path / "c.dcm", RAMP))).all()
    negative = dicom(tmp_path / "d.dcm", RAMP, RescaleSlope=-1, RescaleIntercept=4095)
    assert read(negative).tolist() == (255 - read(tmp_path / "c.dcm")).tolist()
    windowed = dicom(
        tmp_path / "e.dcm", RAMP, RescaleSlope=-1, RescaleIntercept=0, WindowCenter=-2000, WindowWidth=2000
    )
    assert read(windowed)[0, [0, 2, 4]].tolist() == [255, 128, 0]


def test_look_up_tables(tmp_path):
    table = item(LUTDescriptor=[4, 0, 8], LUTData=words(0, 50, 100, 200))
    values = np.array([[0, 1, 2, 3, 4095]], np.uint16)
    path = dicom(tmp_path / "a.dcm", values, VOILUTSequence=[table], WindowCenter=1, WindowWidth=2)
    assert read(path).tolist() == [[0, 50, 100, 200, 200]]
    assert notes(path) == ["DICOM, 12 bit, VOI LUT"]
    table = item(LUTDescriptor=[4, 0, 16], LUTData=words(0, 257 * 50, 257 * 100, 257 * 200), ModalityLUTType="US")
    assert read(dicom(tmp_path / "b.dcm", values, ModalityLUTSequence=[table])).tolist() == [[0, 50, 100, 200, 200]]


def test_monochrome1_is_inverted(tmp_path):
    plain = read(dicom(tmp_path / "a.dcm", RAMP))
    path = dicom(tmp_path / "b.dcm", RAMP, photometric="MONOCHROME1")
    assert read(path).tolist() == (255 - plain).tolist() == [[255, 193, 130, 68, 0]]
    assert notes(path) == ["DICOM, 12 bit, rescaled", "inverted, as large values are dark"]
    windowed = dicom(tmp_path / "c.dcm", RAMP, photometric="MONOCHROME1", WindowCenter=2000.5, WindowWidth=2001)
    assert read(windowed).tolist() == [[255, 255, 127, 0, 0]]


def test_signed_values(tmp_path):
    path = dicom(tmp_path / "a.dcm", np.array([[-2048, 0, 2047]], np.int16))
    assert read(path).tolist() == [[0, 128, 255]]
    path = dicom(tmp_path / "b.dcm", np.array([[-1000, 0, 1000]], np.int16), bits=16)
    assert read(path).tolist() == [[0, 128, 255]]
    assert notes(path) == ["DICOM, 16 bit, signed, percentiles 0.5 to 99.5"]


def test_windows_of_enhanced_files(tmp_path):
    group = item(
        FrameVOILUTSequence=[item(WindowCenter=2000.5, WindowWidth=2001)],
        PixelValueTransformationSequence=[item(RescaleSlope=1, RescaleIntercept=0, RescaleType="US")],
    )
    path = dicom(tmp_path / "a.dcm", RAMP, NumberOfFrames=1, SharedFunctionalGroupsSequence=[group])
    assert read(path).tolist() == [[0, 0, 128, 255, 255]]


def test_colours(tmp_path):
    colour = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    path = dicom(tmp_path / "a.dcm", colour, 8, "RGB")
    assert np.array_equal(ImageReader()(str(path)), colour)
    assert notes(path) == ["DICOM, 8 bit colour"]
    path = dicom(tmp_path / "b.dcm", colour.astype(np.uint16) * 257, 16, "RGB")
    assert np.array_equal(ImageReader()(str(path)), colour)
    ybr = np.asarray(Image.fromarray(colour).convert("YCbCr"))
    path = dicom(tmp_path / "c.dcm", ybr, 8, "YBR_FULL")
    assert (
        abs(np.asarray(ImageReader()(str(path)), int) - np.asarray(Image.fromarray(ybr, "YCbCr").convert("RGB"))).max()
        <= 1
    )
    index = np.array([[0, 1, 2]], np.uint8)
    tables = {
        f"{name}PaletteColorLookupTableData": words(*values)
        for name, values in {"Red": [0, 25700, 65535], "Green": [65535, 0, 0], "Blue": [0, 0, 257]}.items()
    }
    tables |= {f"{name}PaletteColorLookupTableDescriptor": [3, 0, 16] for name in ("Red", "Green", "Blue")}
    path = dicom(tmp_path / "d.dcm", index, 8, "PALETTE COLOR", **tables)
    assert np.asarray(ImageReader()(str(path))).tolist() == [[[0, 255, 0], [100, 0, 0], [255, 0, 1]]]


def test_recognised_by_suffix_or_content(tmp_path):
    values = GREY.astype(np.uint8)
    for name in ("a.dcm", "b.DICOM", "IM0001", "1.2.840.113619"):
        assert (read(dicom(tmp_path / name, values, 8)) == GREY).all()
    with pytest.raises(InputError, match=r"c.dcm' does not start like a DICOM file"):
        read(saved(tmp_path / "c.dcm", GREY, format="PNG"))
    with pytest.raises(InputError, match=r"d.png' cannot be read"):
        read(dicom(tmp_path / "d.png", values, 8))


def test_what_is_refused(tmp_path):
    frames = dicom(tmp_path / "frames.dcm", np.zeros((3, 4, 4), np.uint16))
    with pytest.raises(InputError, match=r"frames.dcm' has 3 frames; store the frame that is meant as a file"):
        read(frames)
    with pytest.raises(InputError, match=r"a.dcm' has 5 pixels, more than INPUT.MAX_PIXELS \(4\)"):
        read(dicom(tmp_path / "a.dcm", RAMP), max_pixels=4)
    with pytest.raises(InputError, match=r"a.dcm' has 12 bits per channel, and INPUT.DEPTH is 'refuse'"):
        read(tmp_path / "a.dcm", depth="refuse")
    content = (tmp_path / "a.dcm").read_bytes()
    (tmp_path / "a.dcm").write_bytes(content[:-4])
    with pytest.raises(InputError, match=r"a.dcm' cannot be read"):
        read(tmp_path / "a.dcm")
    empty = dicom(tmp_path / "b.dcm", RAMP)
    dataset = pydicom.dcmread(empty)
    for keyword in ("PixelData", "Rows", "Columns"):
        del dataset[keyword]
    dataset.save_as(empty)
    with pytest.raises(InputError, match=r"b.dcm' is a DICOM file without an image; remove it"):
        read(empty)
    deflated = dicom(tmp_path / "c.dcm", RAMP)
    dataset = pydicom.dcmread(deflated)
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    dataset.save_as(deflated)
    with pytest.raises(InputError, match=r"c.dcm' is a deflated DICOM file; store it without deflation"):
        read(deflated)


def test_without_pydicom_the_error_names_the_requirement(tmp_path, monkeypatch):
    path = dicom(tmp_path / "a.dcm", RAMP)
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(InputError, match=r"a.dcm' is a DICOM file.* pip install -r requirements-dicom.txt"):
        read(path)


def test_a_missing_decoder_is_named(tmp_path, monkeypatch):
    def decode(path):
        raise RuntimeError("Unable to decompress 'JPEG-LS': pyjpegls - requires pyjpegls>=1.2")

    path = dicom(tmp_path / "a.dcm", RAMP)
    monkeypatch.setattr("pydicom.pixels.pixel_array", decode)
    with pytest.raises(InputError, match=r"a.dcm' cannot be decoded \(Unable .*pyjpegls.*; install one of"):
        read(path)


SHIPPED = Path(pydicom.__file__).parent / "data" / "test_files"


@pytest.mark.parametrize(
    ("name", "size", "mean"),
    [
        ("MR_small.dcm", (64, 64), 113.1),
        ("MR_small_RLE.dcm", (64, 64), 113.1),
        ("MR_small_bigendian.dcm", (64, 64), 113.1),
        ("CT_small.dcm", (128, 128), None),
        ("SC_rgb_rle_16bit.dcm", (100, 100), 127.7),
        ("SC_rgb_small_odd_jpeg.dcm", (3, 3), 128.3),
        ("examples_palette.dcm", (800, 350), 20.5),
        ("liver_1frame.dcm", (512, 512), 35.2),
    ],
)
def test_files_that_pydicom_ships(name, size, mean):
    if not (SHIPPED / name).is_file():
        pytest.skip(f"this version of pydicom does not ship {name}")
    image = ImageReader()(str(SHIPPED / name))
    assert (image.mode, image.size) == ("RGB", size)
    assert np.ptp(np.asarray(image)) > 100
    assert mean is None or abs(np.asarray(image).mean() - mean) < 0.1
