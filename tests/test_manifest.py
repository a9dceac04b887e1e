"""images.csv: classes, patients and parts of images, line by line."""

import pytest

from dassl.errors import InputError
from runs.contents import Contents
from tests.own_images import class_folders, dataset, settings, write_images, write_manifest, write_split
from tests.test_patients import BY_NAME, TWELVE, assert_disjoint, patient_of, patients_of_parts


def rows(paths=TWELVE, **columns):
    """Lines of images.csv in which the class and the patient are those of the path."""
    return [",".join((path, path.split("/")[0], *(of(path) for of in columns.values()))) for path in paths]


def test_a_manifest_takes_the_place_of_class_folders(tmp_path):
    flat = [f"{k}.png" for k in range(12)]
    write_images(tmp_path, flat, below="Mine/scans")
    lines = [f"scans/{name},{'left_knee' if k < 6 else 'right knee'}" for k, name in enumerate(flat)]
    write_manifest(tmp_path, "path,label", *lines)
    data = dataset(tmp_path)
    assert data.classnames == ["left knee", "right knee"]
    assert [len(part) for part in data.split.parts().values()] == [6, 2, 4]
    assert all((k < 6) == (label == 0) for path, label, _ in data.split.entries() for k in [int(path[6:-4])])
    assert data.test[0].impath == str(tmp_path / "Mine" / data.split.test[0][0])
    with pytest.raises(InputError, match=r"expects \['right knee', 'left_knee'\] in this order"):
        dataset(tmp_path, "DATASET.CLASSES", "['right knee','left_knee']")
    (tmp_path / "Mine" / "split_Mine.json").unlink()
    assert dataset(tmp_path, "DATASET.CLASSES", "['right knee','left_knee']").classnames == ["right knee", "left_knee"]


def test_a_manifest_of_excel(tmp_path):
    write_images(tmp_path, TWELVE)
    lines = ["Path;Label;Part", *(line.replace(",", ";") + ";" for line in rows())]
    write_manifest(tmp_path, *lines, "", ";;", encoding="utf-8-sig", newline="\r\n")
    assert len(dataset(tmp_path).split.entries()) == 12
    write_manifest(tmp_path, "path,label", *rows(), encoding="utf-16")
    with pytest.raises(InputError, match=r"images.csv' cannot be read .*; save it as CSV in UTF-8"):
        dataset(tmp_path)


def test_parts_of_a_manifest_are_the_split(tmp_path):
    write_images(tmp_path, TWELVE)
    part = {"p0": "train", "p3": "train", "p1": "val", "p4": "val", "p2": "test", "p5": "test"}
    lines = rows(part=lambda path: part[patient_of(path)])
    path = write_manifest(tmp_path, "path,label,part", *lines)
    split = dataset(tmp_path, *BY_NAME).split
    assert {name: {patient_of(path) for path, _, _ in found} for name, found in split.parts().items()} == {
        "train": {"p0", "p3"}, "val": {"p1", "p4"}, "test": {"p2", "p5"},
    }  # fmt: skip
    assert split.origin == "custom"
    assert Contents(settings(tmp_path)).split == (path, split.digest())
    assert not list((tmp_path / "Mine").glob("split_*.json"))
    with pytest.raises(InputError, match=r"has a column part, and DATASET.FOLDS 3 divides the images too"):
        dataset(tmp_path, "DATASET.FOLDS", 3)
    write_manifest(tmp_path, "path,label,part", *lines[:-1], "a/p5_1.png,a,train")
    with pytest.raises(InputError, match=r"images.csv' has 1 of 6 patients in two parts: patient 'p5'"):
        dataset(tmp_path, *BY_NAME)
    write_manifest(tmp_path, "path,label,part", *lines[:-1], "a/p5_1.png,a,")
    with pytest.raises(InputError, match=r"images.csv', line 13: part '' must be one of train, val, test"):
        dataset(tmp_path)
    write_manifest(tmp_path, "path,label,part", *lines)
    write_split(tmp_path, split.train, split.val, split.test)
    with pytest.raises(InputError, match=r"has a column part, and '.*split_Mine.json' divides the images too"):
        dataset(tmp_path)


def test_a_column_names_the_patient(tmp_path):
    write_images(tmp_path, TWELVE)
    write_manifest(tmp_path, "path,label,Person", *rows(person=patient_of))
    split = dataset(tmp_path, "DATASET.GROUP", "person").split
    assert_disjoint(patients_of_parts(split))
    assert split == dataset(tmp_path, "DATASET.GROUP", "person").split
    write_manifest(tmp_path, "path,label,person", *rows(person=lambda path: patient_of(path).replace("p4", "")))
    with pytest.raises(InputError, match=r"images.csv', line 10: column 'person' is empty, and it names the patient"):
        dataset(tmp_path, "DATASET.GROUP", "person")
    with pytest.raises(InputError, match="finds no patient in 12 of 12 paths"):
        dataset(tmp_path, "DATASET.GROUP", "persons")


def test_a_column_patient_is_not_overlooked(tmp_path):
    write_images(tmp_path, TWELVE)
    write_manifest(tmp_path, "path,label,patient", *rows(patient=patient_of))
    assert_disjoint(patients_of_parts(dataset(tmp_path).split))
    assert Contents(settings(tmp_path)).split[1] == dataset(tmp_path).split.digest()


def test_a_split_that_contradicts_the_manifest_is_refused(tmp_path):
    write_images(tmp_path, TWELVE)
    lines = rows()
    write_manifest(tmp_path, "path,label", *lines)
    dataset(tmp_path)
    write_manifest(tmp_path, "path,label", *lines[:-1], "a/p5_1.png,b")
    with pytest.raises(InputError, match=r"split_Mine.json' has 1 images that .* the same class: 'a/p5_1.png'"):
        dataset(tmp_path)


LINES = {
    "no header": (["a/0.png,a"], "has no column 'path', but 'a/0.png', 'a'"),
    "no label": (["path,class", "a/0.png,a"], "has no column 'label', but 'path', 'class'"),
    "a column twice": (["path,label,label", "a/0.png,a,a"], "names a column twice"),
    "nothing": (["path,label"], "lists no images; its first line names the columns"),
    "more cells": (["path,label", "a/0.png,a", "a/1.png,a,b"], "line 3: 3 cells, but 2 columns"),
    "fewer cells": (["path,label", "a/0.png"], "line 2: 1 cells, but 2 columns"),
    "twice": (["path,label", "a/0.png,a", "a/1.png,a", "a/0.png,b"], "line 4: image 'a/0.png' is in line 2 already"),
    "absolute": (["path,label", "/a/0.png,a"], "line 2: path '/a/0.png' lies outside"),
    "above": (["path,label", "a/../../0.png,a"], "line 2: path 'a/../../0.png' lies outside"),
    "backslash": (["path,label", "a\\0.png,a"], r"line 2: path 'a\\\\0.png' has a backslash"),
    "no path": (["path,label", ",a"], "line 2: path '' is empty"),
    "no class": (["path,label", "a/0.png,"], "line 2: label '' is no class name"),
    "NUL": (["path,label", "a/0\0.png,a"], "line 2: "),
    "an open quote": (["path,label", 'a/0.png,"a', "a/1.png,a"], "line [34]: no valid CSV"),
    "too long": (["path,label", f"a/0.png,{'a' * 200_000}"], "line 2: no valid CSV"),
    "unknown class": (["path,label", "a/0.png,c"], "line 2: unknown class 'c'"),
}


@pytest.mark.parametrize("case", LINES)
def test_manifests_are_refused_by_their_line(tmp_path, case):
    lines, message = LINES[case]
    class_folders(tmp_path, {"a": 3, "b": 3})
    path = write_manifest(tmp_path, *lines)
    with pytest.raises(InputError, match=message) as refused:
        dataset(tmp_path, "DATASET.CLASSES", "['a','b']")
    assert f"'{path}'" in str(refused.value)
    assert len(str(refused.value)) < 600


def test_missing_images_of_a_manifest(tmp_path):
    write_images(tmp_path, TWELVE[1:])
    path = write_manifest(tmp_path, "path,label,part", *(f"{line},{part}" for line, part in _parts_of(rows())))
    with pytest.raises(InputError, match=f"1 of 12 images .* 'a/p0_0.png'.*remove the lines of the missing .*'{path}'"):
        dataset(tmp_path)


def _parts_of(lines):
    return [(line, ("train", "val", "test")[k % 3]) for k, line in enumerate(lines)]
