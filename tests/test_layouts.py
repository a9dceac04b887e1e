"""Archives in other layouts than the expected one, as those from Kaggle."""

import json

import pytest

from dassl.errors import InputError
from datasets import fetch
from datasets.downloads import Sources
from tests.archives import OFFICIAL, SPLIT, make_zip

LUNG_IMAGES = {
    "colon_image_sets/colon_aca/a.jpeg": "pixels",
    "colon_image_sets/colon_n/a.jpeg": "pixels",
    "lung_image_sets/lung_aca/a.jpeg": "pixels",
    "lung_image_sets/lung_n/a.jpeg": "pixels",
    "lung_image_sets/lung_scc/a.jpeg": "pixels",
}


@pytest.fixture
def install(tmp_path):
    """Makes the archive of a data set, installs it, and returns the data root."""

    def _install(name, files):
        dataset = fetch.available()[name]
        make_zip(tmp_path / f"{dataset.folder}.zip", files)
        fetch.fetch(dataset, tmp_path, Sources())
        return tmp_path

    return _install


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("name", "files", "out"),
    [
        ("busi", {k.removeprefix("BUSI/"): v for k, v in OFFICIAL.items()}, "'BUSI/benign_tumor' as 'benign_tumor'"),
        ("busi", {f"archive/{k}": v for k, v in OFFICIAL.items()}, "took 'archive/BUSI/BUSI/benign_tumor' as"),
        ("busi", {k.removeprefix("BUSI/BUSI/"): v for k, v in OFFICIAL.items()}, "took 'benign_tumor' as"),
        ("busi", OFFICIAL | {"BUSI/BUSI/masks/a.png": "mask"}, "took 'BUSI/BUSI/benign_tumor' as 'benign_tumor'"),
        ("busi", {k.replace("_", " ").title(): v for k, v in OFFICIAL.items()}, "Benign Tumor' as 'benign_tumor'"),
        (
            "busi",
            {
                "Dataset_BUSI_with_GT/benign/a.png": "pixels",
                "Dataset_BUSI_with_GT/benign/a_mask.png": "mask",
                "Dataset_BUSI_with_GT/benign/a_mask_1.png": "mask",
                "Dataset_BUSI_with_GT/malignant/b.png": "pixels",
                "Dataset_BUSI_with_GT/normal/c.png": "pixels",
            },
            "left out 2 masks; it has no split_BUSI.json, so a seeded split is made on first use",
        ),
        (
            "lungcolon",
            {f"lung_colon_image_set/{k}": v for k, v in LUNG_IMAGES.items()},
            "took 'lung_colon_image_set/colon_image_sets/colon_aca' as 'colon_adenocarcinoma'",
        ),
        (
            "covid",
            {
                f"COVID-19_Radiography_Dataset/{name}/{part}/a.png": "pixels"
                for name in ("COVID", "Lung_Opacity", "Viral Pneumonia", "Normal")
                for part in ("images", "masks")
            },
            "COVID/images' as 'covid_lungs'",
        ),
    ],
)
def test_other_layouts_are_mapped(install, capsys, name, files, out):
    dataset = fetch.available()[name]
    images = install(name, files) / dataset.folder / dataset.folder
    assert out in capsys.readouterr().out
    folders = {name.replace(" ", "_") for name in dataset.classes}
    assert {*names(images)} == folders
    for folder in folders:
        assert len(names(images / folder)) == 1


def test_a_split_file_is_found_in_another_layout(install):
    files = {k.removeprefix("BUSI/"): v for k, v in OFFICIAL.items()} | {"split_BUSI.json": json.dumps(SPLIT)}
    assert json.loads((install("busi", files) / "BUSI/split_BUSI.json").read_text()) == SPLIT


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {f"{part}/{name}/a.png": "x" for part in ("Training", "Testing") for name in ("benign", "malignant")},
            "several folders for one class: 'Testing/benign', 'Training/benign'",
        ),
        ({"BUSI/BUSI/benign_tumor/a.png": "x"}, "more than one, for 'malignant tumor', 'normal scan'"),
        (
            OFFICIAL
            | {
                "BUSI/split_BUSI.json": json.dumps(
                    SPLIT | {"test": [*SPLIT["test"][:2], ["x/y.png", 2, "normal scan"]]}
                )
            },
            "1 of 3",
        ),
        ({"readme.txt": "hello"}, "found 'readme.txt' at the top and the folders nothing; needed is one folder"),
    ],
)
def test_archives_without_the_data_set_say_what_is_needed(install, tmp_path, files, message):
    with pytest.raises(InputError, match=r"BUSI.zip' cannot be used: .*; replace it$") as caught:
        install("busi", files)
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert names(tmp_path) == ["BUSI.zip"]
