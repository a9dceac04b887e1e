"""Lesion masks: those of the phantom, those in files, and their place in what the tower sees."""

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from yacs.config import CfgNode

from dassl.config.defaults import Input
from dassl.config.schema import defaults_of
from dassl.data.transforms import build_transform
from dassl.errors import InputError
from datasets.folder import FolderDataset
from datasets.images import ImageReader
from datasets.phantom import Phantom
from datasets.phantom_render import RADIOGRAPH, SONOGRAM, _hull, lesion, render
from evidence.masks import Masks, on_grid, seen

# Of the pixels of the first image of each class, in label order.
DIGEST = "10c726b88ae23af212ef6037eb7270ead6cf3024521087766049ae35caec6b28"
# Nothing but the finding on an even ground.
BARE = replace(
    RADIOGRAPH,
    background=(0.2, 0.2),
    tissue_contrast=(0, 0),
    lesion_contrast=(0.5, 0.5),
    **dict.fromkeys(("blur", "speckle", "grain", "shading"), (0, 0)),
    gamma=(1, 1),
)
# What BARE draws where the finding has half of its strength.
HALF = {"solid nodule": 0.2 + 0.5 / 2, "stellate mass": 0.2 + 1.1 * 0.5 / 2}


def folder_of(name):
    return name.replace(" ", "_")


def test_the_phantom_keeps_its_images(few_images):
    pixels = hashlib.sha256()
    for name in Phantom.classes:
        with Image.open(few_images / "Phantom" / "Phantom" / folder_of(name) / "phantom_000.png") as image:
            pixels.update(image.tobytes())
    assert pixels.hexdigest() == DIGEST


@pytest.mark.parametrize("finding", ["solid nodule", "stellate mass"])
def test_a_lesion_is_where_its_drawing_has_half_its_strength(finding):
    image, inside = (draw("fatty", finding, BARE, np.random.default_rng(5)) for draw in (render, lesion))
    clear = abs(image - 255 * HALF[finding]) > 1  # grey levels are rounded
    assert np.array_equal(inside[clear], image[clear] > 255 * HALF[finding])
    assert 0.01 < inside.mean() < 0.3


def test_a_cyst_is_without_its_rim():
    image, inside = (draw("fatty", "cyst", BARE, np.random.default_rng(5)) for draw in (render, lesion))
    rows, columns = np.nonzero(inside)
    assert (image[inside] < 0.2 * 255 - 1).mean() > 0.8, "dark inside"
    assert image[~inside].min() >= 0.2 * 255 - 1
    assert image[~inside].max() > 0.35 * 255, "the bright rim reaches out"
    assert image[round(rows.mean()), round(columns.mean())] == 0


def test_a_cluster_is_the_hull_of_its_dots():
    image, inside = (draw("fatty", "calcified cluster", BARE, np.random.default_rng(5)) for draw in (render, lesion))
    dots = image / 255 >= 0.2 + 1.6 * 0.5 / 2
    assert inside[dots].all()
    assert 2 * dots.sum() < inside.sum()
    assert np.array_equal(_hull(inside), inside), "the hull of a hull is the same"
    corners = np.zeros((5, 6), dtype=bool)
    corners[[0, 0, 4], [1, 5, 1]] = True
    assert _hull(corners).astype(int).tolist() == [
        [0, 1, 1, 1, 1, 1],
        [0, 1, 1, 1, 1, 0],
        [0, 1, 1, 1, 0, 0],
        [0, 1, 1, 0, 0, 0],
        [0, 1, 0, 0, 0, 0],
    ]


def test_the_name_of_a_phantom_tells_its_mask(few_images):
    images = few_images / "Phantom" / "Phantom"
    for label, name in enumerate(Phantom.classes):
        path = images / folder_of(name) / "phantom_003.png"
        mask, grey = Phantom.lesion_mask(path), np.asarray(Image.open(path))
        finding, tissue = name.removesuffix(" tissue").split(" in ")
        assert np.array_equal(mask, lesion(tissue, finding, SONOGRAM, np.random.default_rng((2025, label, 3))))
        sign = -1 if finding == "cyst" else 1
        assert sign * (grey[mask].mean() - grey[~mask].mean()) > 1, "a cyst is darker, the others are brighter"


@pytest.mark.parametrize("name", ["phantom_160.png", "phantom_3.png", "phantom_003.jpg", "xphantom_003.png", "a.png"])
def test_other_names_have_no_mask(name):
    assert Phantom.lesion_mask(Path("cyst_in_fatty_tissue") / name) is None
    assert Phantom.lesion_mask(Path("cyst") / "phantom_003.png") is None
    assert FolderDataset.lesion_mask(Path("cyst_in_fatty_tissue/phantom_003.png")) is None


def save(path, mask, mode="L", white=255):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.asarray(mask, dtype=np.uint8) * white)
    image.convert(mode).save(path)
    return path


LEFT = np.arange(12).reshape(3, 4) % 4 < 2
TOP = np.arange(12).reshape(3, 4) < 4


class Data(FolderDataset):
    def __init__(self, root):
        self.image_dir = root / "Data" / "Data"


@pytest.fixture
def data(tmp_path):
    """A data set with the images a.png and b.png of the class `tumor`, its paths, and a way to look for masks."""
    dataset = Data(tmp_path)
    images = [str(save(dataset.image_dir / "tumor" / f"{name}.png", LEFT)) for name in "ab"]
    picture = Image.new("RGB", (4, 3))

    def masks(folder="", reader=None):
        found = Masks(dataset, images, reader or ImageReader(), tmp_path, folder)
        return [found.mask(image, picture) for image in images]

    return SimpleNamespace(root=tmp_path, folder=dataset.image_dir / "tumor", masks=masks, images=images)


@pytest.mark.parametrize("name", ["a.png", "a_mask.png", "a_mask_1.png", "a_MASK.PNG", "a_mask.bmp"])
def test_masks_in_a_folder(data, name):
    save(data.root / "Data" / "masks" / "tumor" / name, LEFT)
    first, second = data.masks("Data/masks")
    assert np.array_equal(first, LEFT)
    assert second is None


def test_masks_of_one_image_are_united(data):
    save(data.root / "M" / "tumor" / "a_mask.png", LEFT)
    save(data.root / "M" / "tumor" / "a_mask_1.png", TOP)
    save(data.root / "M" / "tumor" / "b.png", TOP & False)
    first, second = data.masks(str(data.root / "M"))
    assert np.array_equal(first, LEFT | TOP)
    assert not second.any(), "a mask without a lesion is a mask"


def test_masks_beside_the_images(data):
    save(data.folder / "b_mask.png", TOP)
    first, second = data.masks()
    assert first is None
    assert np.array_equal(second, TOP)
    assert np.array_equal(data.masks("Data/Data")[1], TOP), "an image is not its own mask"


def test_a_masks_folder_is_looked_for_below_the_data_root_first(data, tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    save(elsewhere / "M" / "tumor" / "a.png", TOP)
    monkeypatch.chdir(elsewhere)
    assert np.array_equal(data.masks("M")[0], TOP)
    save(data.root / "M" / "tumor" / "a.png", LEFT)
    assert np.array_equal(data.masks("M")[0], LEFT)
    with pytest.raises(InputError, match=f"no masks folder '{data.root}/N' and no 'N'"):
        data.masks("N")


@pytest.mark.parametrize(
    ("mode", "white"), [("1", 255), ("L", 128), ("L", 1), ("P", 255), ("RGB", 255), ("RGBA", 200), ("LA", 255)]
)
def test_kinds_of_mask_files(data, mode, white):
    save(data.root / "M" / "tumor" / "a.png", LEFT, mode, white)
    assert np.array_equal(data.masks("M")[0], LEFT)


def test_a_coloured_lesion(data):
    red = Image.fromarray(np.stack([LEFT * 255, LEFT * 0, LEFT * 0], axis=-1).astype(np.uint8))
    (data.root / "M" / "tumor").mkdir(parents=True)
    red.save(data.root / "M" / "tumor" / "a.png")
    assert np.array_equal(data.masks("M")[0], LEFT)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: save(path, LEFT, white=127), r"mask '.*a.png' has grey levels up to 127; store it with 0 .* 255"),
        (lambda path: save(path, LEFT.T), r"mask '.*a.png' has 3 × 4 pixels, and its image '.*a.png' has 4 × 3"),
        (lambda path: path.write_bytes(b"\x89PNG"), r"image '.*M/tumor/a.png' cannot be read"),
        (lambda path: Image.fromarray(LEFT.astype(np.uint16)).save(path), r"'.*M/tumor/a.png' has 16 bits"),
    ],
)
def test_bad_masks_are_refused_by_name(data, make, message):
    (data.root / "M" / "tumor").mkdir(parents=True)
    make(data.root / "M" / "tumor" / "a.png")
    with pytest.raises(InputError, match=message):
        data.masks("M")


def test_no_masks_at_all(data):
    (data.root / "M").mkdir()
    looked = f"'{data.root}/M/tumor/a.png' or '{data.root}/M/tumor/a_mask.png'"
    with pytest.raises(InputError, match=f"no image of Data has a mask; for .*a.png' it was looked for as {looked}"):
        data.masks("M")
    with pytest.raises(InputError, match=r"looked for as '.*Data/tumor/a_mask.png' or .* with --masks"):
        data.masks()


def test_a_turned_picture_needs_a_turned_mask(data):
    save(data.root / "M" / "tumor" / "a.png", LEFT)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(LEFT.astype(np.uint8)).save(data.images[0], exif=exif)
    dataset = Data(data.root)
    for orientation in ("ignore", "apply"):
        reader = ImageReader(orientation=orientation)
        masks, picture = Masks(dataset, data.images, reader, data.root, "M"), reader(data.images[0])
        if orientation == "ignore":
            assert masks.mask(data.images[0], picture).shape == (3, 4)
        else:
            with pytest.raises(InputError, match=r"has 4 × 3 pixels, .* has 3 × 4 pixels as it is read"):
                masks.mask(data.images[0], picture)


def test_a_data_set_with_its_own_way_of_reading(data):
    save(data.root / "M" / "tumor" / "a.png", LEFT)
    assert np.array_equal(data.masks("M", reader=Image.open)[0], LEFT)


def test_the_phantom_needs_no_masks_folder(few_images, tmp_path):
    shutil.copytree(few_images / "Phantom" / "Phantom" / "cyst_in_fatty_tissue", tmp_path / "cyst_in_fatty_tissue")
    path = tmp_path / "cyst_in_fatty_tissue" / "phantom_001.png"
    dataset, reader = Phantom.__new__(Phantom), ImageReader()
    dataset.image_dir = tmp_path
    found = Masks(dataset, [str(path)], reader, tmp_path).mask(str(path), reader(str(path)))
    assert np.array_equal(found, Phantom.lesion_mask(path))
    save(tmp_path / "M" / "cyst_in_fatty_tissue" / "phantom_001.png", ~found)
    named = Masks(dataset, [str(path)], reader, tmp_path, "M").mask(str(path), reader(str(path)))
    assert np.array_equal(named, ~found), "a folder that is named comes before what the data set knows"
    Image.new("L", (40, 30)).save(path)
    with pytest.raises(InputError, match=r"the data set's mask has 160 × 160 pixels, .* has 40 × 30"):
        Masks(dataset, [str(path)], reader, tmp_path).mask(str(path), reader(str(path)))


@pytest.mark.parametrize(("height", "width"), [(40, 60), (60, 40), (200, 90), (33, 33)])
def test_a_mask_lines_up_with_the_picture(height, width):
    mask = np.zeros((height, width), dtype=bool)
    mask[height // 3 : height // 2, width // 4 : width // 2] = True
    transform = build_transform(CfgNode({"INPUT": CfgNode({**defaults_of(Input), "SIZE": (48, 48)})}), is_train=False)
    picture = transform(Image.fromarray(mask.astype(np.uint8) * 255).convert("RGB"))[0]
    share = seen(mask, (48, 48))
    assert share.dtype == torch.float32
    assert 0 < share.mean() < 0.5
    assert (share - picture).abs().max() < 0.01, "8 bit"


def test_share_of_patches():
    mask = np.zeros((4, 8), dtype=bool)  # the tower sees columns 2 to 5
    mask[0, 2] = mask[:2, 4:6] = mask[:, 7] = True
    share = seen(mask, (4, 4))
    assert share.tolist() == mask[:, 2:6].astype(float).tolist()
    assert on_grid(share, 2, 2).tolist() == [[0.25, 1.0], [0.0, 0.0]]
    assert on_grid(share, 1, 4).tolist() == [[0.25, 0.0, 0.5, 0.5]]


def test_real_masks(shared):
    dataset, reader = Data(shared / "data"), ImageReader()
    dataset.image_dir = shared / "data" / "BUSI" / "BUSI"
    images = [str(sorted((dataset.image_dir / name).iterdir())[0]) for name in ("malignant_tumor", "normal_scan")]
    masks = Masks(dataset, images, reader, shared / "data", "BUSI/masks")
    areas = [float(seen(masks.mask(image, reader(image)), (64, 64)).mean()) for image in images]
    assert 0.01 < areas[0] < 0.6
    assert areas[1] == 0
