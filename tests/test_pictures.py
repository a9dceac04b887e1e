"""Images in memory have the pixels that they would have as files; lists of images, labels, shots and validation."""

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

from biomed_dpt.division import divide
from biomed_dpt.inputs import images_of, labelled_images, read_classes
from biomed_dpt.pictures import picture_of, stored
from dassl.errors import InputError
from datasets.images import ImageReader

READER = ImageReader()
RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (5, 4), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (5, 4, 3), dtype=np.uint8)
ALPHA = np.concatenate([COLOUR, np.where(GREY > 99, 255, 0).astype(np.uint8)[:, :, None]], axis=2)
DEEP = RNG.integers(0, 65536, (5, 4), dtype=np.uint16)
FLOATS = RNG.normal(0, 300, (5, 4)).astype(np.float32)


def pixels(value, reader=READER):
    return np.asarray(picture_of(value, reader))


@pytest.mark.parametrize(
    ("array", "suffix"),
    [
        (GREY, "png"),
        (COLOUR, "png"),
        (ALPHA, "png"),
        (DEEP, "png"),
        (DEEP, "tif"),
        (FLOATS, "tif"),
        (FLOATS.astype(np.int32), "tif"),
    ],
)
def test_an_image_in_memory_is_read_as_its_file(array, suffix, tmp_path):
    path = tmp_path / f"image.{suffix}"
    Image.fromarray(array).save(path)
    expected = np.asarray(READER(str(path)))
    assert expected.shape == (5, 4, 3)
    channels = array if array.ndim == 2 else np.moveaxis(array, -1, 0)
    for value in (str(path), path, array, Image.fromarray(array), Image.open(path), torch.from_numpy(channels.copy())):
        assert np.array_equal(pixels(value), expected)
    (kept,) = stored([array], tmp_path / "kept", READER, "X")
    assert np.array_equal(pixels(kept), expected)


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (GREY[:, :, None], GREY),
        (GREY > 99, np.where(GREY > 99, 255, 0)),
        (np.uint16(256) * COLOUR + 9, COLOUR),
        (COLOUR.astype(np.int64), COLOUR),
        (COLOUR / 255, COLOUR),
        (torch.from_numpy(COLOUR / 255).to(torch.float32).permute(2, 0, 1), COLOUR),
        (np.array([[-1000.0, 0.0], [1000.0, np.nan]]), [[0, 127], [255, 0]]),
        (np.array([[10, 12]]), [[0, 255]]),
    ],
)
def test_values_of_arrays(array, expected):
    expected = np.asarray(expected)
    if expected.ndim == 2:
        expected = np.repeat(expected[:, :, None], 3, axis=2)
    assert np.abs(pixels(array).astype(int) - expected).max() <= (1 if 127 in expected[0, 1] else 0)


def test_a_picture_that_was_opened_is_turned_as_its_file(tmp_path):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.fromarray(COLOUR).save(tmp_path / "turned.png", exif=exif)
    for orientation, shape in (("apply", (4, 5, 3)), ("ignore", (5, 4, 3))):
        reader = ImageReader(orientation=orientation)
        found = pixels(Image.open(tmp_path / "turned.png"), reader)
        assert found.shape == shape
        assert np.array_equal(found, pixels(tmp_path / "turned.png", reader))
    (kept,) = stored([Image.open(tmp_path / "turned.png")], tmp_path, READER, "X")
    assert np.array_equal(pixels(kept), pixels(tmp_path / "turned.png"))


def test_equal_images_are_stored_once_under_the_same_name(tmp_path):
    paths = stored([GREY, COLOUR, GREY, "given.png"], tmp_path, READER, "X")
    assert paths[0] == paths[2] != paths[1]
    assert paths[3] == "given.png"
    assert stored([GREY], tmp_path / "other", READER, "X")[0].endswith(paths[0].rpartition("/")[2])


@pytest.mark.parametrize(
    ("value", "match"),
    [
        (np.zeros((3, 5, 6)), r"shape \(3, 5, 6\)"),
        (np.zeros((0, 4)), r"shape \(0, 4\)"),
        (torch.zeros(5, 4, 3), "channels come first"),
        (COLOUR.astype(int) + 200, "colours of type int64 from "),
        (COLOUR / 200, "floats from 0 to 1"),
        (np.full((2, 2), np.nan), r"image 'X\[0\]' cannot be read \(it has no finite values\)"),
        (np.full((2, 2), 2**40), "more than 32 bits"),
        (np.full((2, 2), "a"), "must hold integers or floats"),
        (3, "is 3; it must be a path, a PIL image, an array"),
    ],
)
def test_what_is_no_image(value, match, tmp_path):
    with pytest.raises(InputError, match=match):
        stored([value], tmp_path, READER, "X")


def test_limits_of_the_reader_hold_in_memory(tmp_path):
    for value in (COLOUR, Image.fromarray(COLOUR), DEEP):
        with pytest.raises(InputError, match="MAX_PIXELS"):
            picture_of(value, ImageReader(max_pixels=19))
    with pytest.raises(InputError, match=r"16 bits per channel, and INPUT.DEPTH is 'refuse'"):
        picture_of(DEEP, ImageReader(depth="refuse"))
    Image.fromarray(COLOUR).save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:60])
    with pytest.raises(InputError, match="image 'in memory' cannot be read"):
        picture_of(Image.open(tmp_path / "cut.png"), READER)


def test_lists_of_images():
    assert len(images_of(np.zeros((3, 5, 5)))) == 3
    assert len(images_of(np.zeros((2, 5, 5, 3)))) == 2
    assert images_of((("a.png", 0), ("b.png", 1))) == ["a.png", "b.png"]
    for wrong in ("a.png", Image.fromarray(GREY), COLOUR, np.zeros((3, 4)), 3, []):
        with pytest.raises(InputError, match="X "):
            images_of(wrong)
    with pytest.raises(InputError, match=r"y has shape \(1,\) for 2 images"):
        labelled_images(["a", "b"], [1])
    with pytest.raises(InputError, match="y is None"):
        labelled_images(["a", "b"], None)
    with pytest.raises(InputError, match="NaN"):
        labelled_images(["a", "b"], [1.0, np.nan])


@pytest.mark.parametrize(
    ("classes", "labels", "match"),
    [
        (None, [0, 1], "name these with `classes`"),
        ("ab", ["a", "b"], "must be a list of names"),
        (["a", "a"], ["a", "b"], "more than once"),
        (["a", "b"], ["a", "c"], r"labels \['c'\] are not among"),
        (["a", "b", "c"], ["a", "b"], r"no images of \['c'\]"),
        (["a", "b", "c"], [1, 2], r"no images of \['a'\]"),
        (["a", "b"], ["x", "y", "z"], "3 different labels"),
        ({1: "a"}, [1, 2], r"labels \[2\]"),
        (["a", "b"], np.array([1, "a"], dtype=object), "cannot be sorted"),
    ],
)
def test_classes_that_do_not_fit_the_labels(classes, labels, match):
    with pytest.raises(InputError, match=match):
        read_classes(classes, np.asarray(labels))


def test_shots_and_validation_images():
    labels = [0, 0, 0, 0, 1, 1, 1, 1]
    assert divide(labels, None, None, None, 1) == ([*range(8)], [])
    assert divide(labels, None, 4, None, 1)[0] == [*range(8)]
    for validation in (1, 0.25, 0.1):
        train, held = divide(labels, None, 2, validation, 1)
        assert [labels[place] for place in held] == [0, 1]
        assert sorted(labels[place] for place in train) == [0, 0, 1, 1]
        assert not {*train} & {*held}
    assert divide(labels, None, 2, 1, 1) == divide(labels, None, 2, 1, 1)
    assert len({str(divide(labels, None, 2, 1, seed)) for seed in range(9)}) > 1


def test_patients_are_not_divided():
    labels, patients = [0, 0, 0, 0, 1, 1, 1, 1], list("aabbccde")
    for seed in range(9):
        train, held = divide(labels, patients, None, 1, seed)
        assert not {patients[place] for place in train} & {patients[place] for place in held}
        assert {labels[place] for place in train} == {labels[place] for place in held} == {0, 1}
    assert {patients[place] for place in divide(labels, patients, 2, None, 1)[0]} > {"a", "b"}
    with pytest.raises(InputError, match="cannot be kept from 2 patients"):
        divide(labels, list("aaaabbbb"), None, 1, 1)
    for validation in (-1, 4, 1.0):
        with pytest.raises(InputError, match="must be a share between 0 and 1"):
            divide(labels, None, None, validation, 1)
