"""Which images a command line names: files, folders, patterns, columns of CSV files."""

import os

import pytest

from biomed_dpt.sources import find_images
from dassl.errors import InputError
from tests.own_images import write_image

DICOM_CONTENT = b"\0" * 128 + b"DICM"


@pytest.fixture
def scans(tmp_path, monkeypatch):
    """scans/ with images in nested folders, other files, hidden files and links that end in a circle."""
    monkeypatch.chdir(tmp_path)
    for k, name in enumerate(("b.png", "a.JPG", "deep/er/c.tif", ".hidden.png", ".git/d.png")):
        write_image(tmp_path / "scans" / name, k)
    (tmp_path / "scans" / "notes.txt").write_text("no image")
    (tmp_path / "scans" / "deep" / "IM0001").write_bytes(DICOM_CONTENT)
    (tmp_path / "scans" / "deep" / "1.2.840.1").write_bytes(DICOM_CONTENT)
    (tmp_path / "scans" / "DICOMDIR").write_bytes(DICOM_CONTENT)
    (tmp_path / "scans" / "deep" / "up").symlink_to(tmp_path / "scans")
    (tmp_path / "scans" / "self").symlink_to(tmp_path / "scans")
    os.mkfifo(tmp_path / "scans" / "pipe")
    return tmp_path / "scans"


ALL = ["scans/a.JPG", "scans/b.png", "scans/deep/1.2.840.1", "scans/deep/IM0001", "scans/deep/er/c.tif"]


def test_a_folder_gives_its_images_at_any_depth_each_once(scans):
    assert find_images(["scans"]) == ALL
    assert find_images(["scans/deep/er/c.tif", "scans", "./scans/b.png", "scans/self"]) == [ALL[-1], *ALL[:-1]]


def test_a_named_file_counts_whatever_its_name(scans):
    assert find_images(["scans/notes.txt", "scans/.hidden.png"]) == ["scans/notes.txt", "scans/.hidden.png"]


def test_patterns(scans):
    assert find_images(["scans/*.png"]) == ["scans/b.png"]
    assert find_images(["scans/[ab].*"]) == ALL[:2]
    assert find_images(["sc*/*p/e*", "scans/deep/IM*"]) == [ALL[4], ALL[3]]
    assert find_images(["scans/**/*.tif"]) == ["scans/deep/er/c.tif"]
    assert find_images(["**/er/*.tif"]) == ["./scans/deep/er/c.tif"]
    assert find_images(["scans/**"]) == find_images(["scans/**/*"]) == ALL
    (scans / "[x].png").write_bytes(b"")
    assert find_images(["scans/[x].png"]) == ["scans/[x].png"]


def test_names_that_are_not_utf_8(scans):
    (scans / "er").mkdir()
    with open(os.fsencode(scans / "er") + b"/\xff.png", "wb"):
        pass
    assert [os.fsencode(path) for path in find_images(["scans/er"])] == [b"scans/er/\xff.png"]


@pytest.mark.parametrize(
    ("text", "column", "found"),
    [
        ("id,file\n1,b.png\n2,deep/er/c.tif\n", "", ["scans/b.png", "scans/deep/er/c.tif"]),
        ("\ufefffile;Path\nnone;b.png\n", "", ["scans/b.png"]),
        ("file,Where\nnone,b.png\nnone,b.png\nnone,gone.png\n", "where", ["scans/b.png", "scans/gone.png"]),
    ],
)
def test_a_column_of_a_csv_file(scans, text, column, found):
    (scans / "list.csv").write_text(text, encoding="utf-8")
    assert find_images(["scans/list.csv"], column) == found


@pytest.mark.parametrize(
    ("inputs", "column", "message"),
    [
        (["scans/b.png", "gone"], "", "the input 'gone' does not exist"),
        (["scans/*.gif"], "", "the pattern 'scans/*.gif' fits no file"),
        (["**/a/**"], "", "has ** more than once"),
        (["scans/empty"], "", "no images in ['scans/empty']"),
        (["scans/b.png"], "file", "--column file: it belongs to a CSV file"),
        (["scans/other.csv"], "", "none of the columns path, file, image, but id, label"),
        (["scans/other.csv"], "Image", "has no column 'image', but 'id', 'label'"),
        (["scans/other.csv"], "id", "none of the 2 files that 'scans/other.csv' names exists, the first of them"),
        (["scans/other.csv"], "label", "'scans/other.csv', line 3: column 'label' has no path"),
    ],
)
def test_bad_input(scans, inputs, column, message):
    (scans / "empty").mkdir()
    (scans / "other.csv").write_text("id,label\n1,x\n2,\n")
    with pytest.raises(InputError) as caught:
        find_images(inputs, column)
    assert message in str(caught.value)
