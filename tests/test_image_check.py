"""What the reader of images refuses, the check before a run, and what runs say of images that are not plain 8 bit."""

import io
import json
import os
import socket

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile

import train
from configs import Choice, build_cfg
from dassl.data import DatasetWrapper
from dassl.data.datasets import DATASET_REGISTRY, DatasetBase, Datum
from dassl.errors import InputError
from dassl.utils import cache_dir, read_image
from datasets.image_check import check_images
from datasets.images import FORMATS, ImageReader
from tests.test_images import COLOUR, GREY, png, read, saved


def test_what_is_no_regular_file_is_refused_at_once(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "device.png").symlink_to("/dev/zero")
    (tmp_path / "loop.png").symlink_to("loop.png")
    with socket.socket(socket.AF_UNIX) as server:
        monkeypatch.chdir(tmp_path)  # the path of a socket must be short
        server.bind("socket.png")
    for name in ("pipe", "folder", "device", "loop", "socket", "missing", "nul\0"):
        with pytest.raises(InputError, match=f"{name}.png' cannot be read"):
            ImageReader()(str(tmp_path / f"{name}.png"))


def test_files_that_claim_many_pixels_are_not_decoded(tmp_path, monkeypatch):
    row = [np.zeros(1, np.uint8)]
    bomb = png(tmp_path / "bomb.png", 8, 0, row, width=50_000, height=50_000)
    large = png(tmp_path / "large.png", 8, 0, row, width=11_000, height=10_000)
    small = saved(tmp_path / "small.png", GREY)
    monkeypatch.setattr(ImageFile.ImageFile, "load", None)
    for path in (bomb, large):
        with pytest.raises(InputError, match=rf"{path.name}' has .*more than INPUT.MAX_PIXELS \(100,000,000\)"):
            ImageReader()(str(path))
    with pytest.raises(InputError, match=r"small.png' has 256 pixels, more than INPUT.MAX_PIXELS \(255\)"):
        ImageReader(max_pixels=255)(str(small))
    monkeypatch.undo()
    assert (read(small, max_pixels=256) == GREY).all()
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # Pillow's own limit gives way
    assert (read(small) == GREY).all()


def test_only_wanted_formats_are_opened(tmp_path):
    for suffix in ("ppm", "pcx", "tga", "icns", "eps"):
        content = io.BytesIO()
        Image.fromarray(COLOUR).save(content, suffix)
        (tmp_path / "a.png").write_bytes(content.getvalue())
        with pytest.raises(InputError, match=r"a.png' cannot be read \(it is none of JPEG, PNG"):
            read(tmp_path / "a.png")
    assert set(FORMATS) == {"JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF"}


def test_truncated_and_empty_files_are_named(tmp_path):
    for name, options in {"a.jpg": {}, "a.png": {}, "a.tif": {"compression": "tiff_lzw"}, "a.gif": {}}.items():
        path = saved(tmp_path / name, COLOUR, **options)
        for content in (path.read_bytes()[:-120], b"", b"not an image"):
            path.write_bytes(content)
            for action in (ImageReader(), ImageReader().notes):
                with pytest.raises(InputError, match=f"{name}' cannot be read"):
                    action(str(path))


def test_unknown_choices_are_refused():
    with pytest.raises(InputError, match=r"unknown choice \(INPUT.DEPTH\) 'rescal'. Did you mean 'rescale'"):
        ImageReader(depth="rescal")


def test_dassls_plain_reader_refuses_what_it_would_cut_off(tmp_path):
    path = saved(tmp_path / "a.png", GREY.astype(np.uint16))
    with pytest.raises(InputError, match=r"a.png' cannot be read \(it has more than 8 bits per channel\)"):
        read_image(str(path))


def test_the_check_counts_and_is_done_once(tmp_path, monkeypatch, capsys):
    files = [saved(tmp_path / f"{k}.png", GREY.astype(np.uint16) * 257) for k in range(3)]
    files += [saved(tmp_path / "8.png", GREY)]
    frames = {"save_all": True, "append_images": [Image.new("L", (16, 16))]}
    files = [str(path) for path in (*files, saved(tmp_path / "a.gif", GREY, **frames))]
    decoded, notes = [], ImageReader.notes
    monkeypatch.setattr(ImageReader, "notes", lambda reader, path: decoded.append(path) or notes(reader, path))
    for _ in range(2):  # the second time the mark of the first is read
        expected = {"16 bit, rescaled": 3, "several frames, first read": 1}
        assert check_images(files, ImageReader()) == expected
        printed = capsys.readouterr().out
        assert "of 5 images, these are not plain 8 bit: 16 bit, rescaled (3); several frames, first read (1)" in printed
        assert "warning: several frames, first read (1 images): the others are ignored" in printed
        assert len(decoded) == 5
    with pytest.raises(InputError, match=r"unreadable images: '.*0.png' has 16 bits.*\n'.*1.png' .*\n'.*2.png' "):
        check_images(files, ImageReader(depth="refuse"))
    with pytest.raises(InputError, match="has 256 pixels"):
        check_images(files, ImageReader(max_pixels=9))
    assert len(decoded) == 15
    saved(tmp_path / "8.png", COLOUR)
    check_images(files, ImageReader())
    assert len(decoded) == 20
    for mark in (cache_dir() / "checked").iterdir():
        mark.write_text("[]")
    check_images(files, ImageReader())
    assert len(decoded) == 25


def test_the_check_names_the_first_files(tmp_path):
    for k in range(5):
        (tmp_path / f"{k}.png").write_bytes(b"no image")
    with pytest.raises(InputError) as caught:
        check_images([str(path) for path in tmp_path.iterdir()], ImageReader())
    lines = str(caught.value).splitlines()
    assert lines[0].startswith(f"unreadable images: '{tmp_path}/0.png' cannot be read (it is none of JPEG")
    assert lines[3:] == ["and 2 more"]


@pytest.fixture
def deep_root(tmp_path):
    """A data root with the folder Deep: 16-bit images, bright at the top or, turned by their EXIF data, at the left."""
    for name in ("left", "top"):
        folder = tmp_path / "Deep" / "Deep" / name
        folder.mkdir(parents=True)
        exif = Image.Exif()
        exif[274] = 8 if name == "left" else 1
        for k in range(10):
            values = np.random.default_rng(k).integers(0, 9000, (40, 40), np.uint16)
            values[:20] += 50_000
            saved(folder / f"{k}.png", values, exif=exif)
    return tmp_path


DEEP = ["DATASET.NAME", "Folder", "DATASET.FOLDER", "Deep"]


def test_a_run_states_what_was_done_to_its_images(deep_root, tmp_path, capsys):
    words = ["--trainer", "LinearProbe", "--backbone", "Tiny", "--shots", "2", "--root", str(deep_root)]
    words += ["--output-dir", str(tmp_path / "run"), *DEEP, "DATALOADER.NUM_WORKERS", "0"]
    assert train.main([*words, "INPUT.DEPTH", "refuse"]) == 2
    assert "unreadable images: '" in capsys.readouterr().err
    assert train.main([*words, "--overwrite"] if (tmp_path / "run").exists() else words) == 0
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    # Of each class there are 2 training, 2 validation and 3 test images.
    assert results["images"] == {"16 bit, rescaled": 14, "EXIF orientation applied": 7}
    log = (tmp_path / "run" / "log.txt").read_text()
    assert "of 14 images, these are not plain 8 bit: 16 bit, rescaled (14); EXIF orientation applied (7)" in log


def test_features_belong_to_the_way_of_reading(deep_root, build):
    def features(*settings):
        trainer = build("ZeroShot", root=str(deep_root), opts=[*DEEP, *settings])
        return trainer.encoder.images(trainer.dm.dataset.test, None, "test images")[0]

    applied, ignored = features(), features("INPUT.ORIENTATION", "ignore")
    assert torch.equal(applied, features("INPUT.ORIENTATION", "apply"))
    same = (applied == ignored).all(1)
    assert same.tolist() == [False] * 3 + [True] * 3  # the images of the class "left" come first, and are turned


def test_images_of_the_new_classes_are_checked_before_training(phantom_root, build, tmp_path, monkeypatch):
    checked, notes = [], ImageReader.notes
    monkeypatch.setattr(ImageReader, "notes", lambda reader, path: checked.append(path) or notes(reader, path))
    monkeypatch.setenv("BIOMED_DPT_CACHE", str(tmp_path / "cache"))
    trainer = build("CoOp", protocol="base2new")
    new = {item.impath for item in trainer.dm.dataset.test_of("new")[0]}
    assert new
    assert new <= set(checked)


def test_a_data_set_of_ones_own_is_read_like_any_other(tmp_path):
    """A class that is written against Dassl alone, and one with its own way of reading."""
    path = saved(tmp_path / "a.png", GREY.astype(np.uint16) * 257)

    class Plain(DatasetBase): ...

    class Special(DatasetBase):
        @classmethod
        def image_reader(cls, cfg):
            return lambda path: Image.new("RGB", (2, 2))

    kept = dict(DATASET_REGISTRY._objects)
    try:
        for cls, expected in ((Plain, GREY), (Special, np.zeros((2, 2)))):
            DATASET_REGISTRY.register()(cls)
            cfg = build_cfg(Choice("ZeroShot", opts=["DATASET.NAME", cls.__name__]))
            wrapper = DatasetWrapper(cfg, [Datum(str(path))])
            assert np.array_equal(np.asarray(wrapper[0]["img"])[..., 0], expected)
            wrapper.decode_all()
            assert np.array_equal(np.asarray(wrapper[0]["img"])[..., 0], expected)
    finally:
        DATASET_REGISTRY._objects = kept
