"""Patients, folds and images.csv, on hand-made sets of images."""

import json
import random

import pytest

import datasets.patients as module
from configs import Choice, build_cfg
from dassl.data.datasets import build_dataset
from dassl.errors import InputError
from datasets.divide import by_patients, into_folds
from datasets.patients import draw_of_patients, patients_by_path
from datasets.splits import Split, few_shot
from runs.contents import Contents
from tests.own_images import (
    dataset,
    paths_of,
    settings,
    write_image,
    write_images,
    write_split,
)

BY_NAME = ("DATASET.GROUP", r"/(p\d+)_")
# Twelve images of six patients: four of each patient's images are of one class, and patient 5 has both.
TWELVE = [f"a/p{k}_{i}.png" for k in (0, 1, 2) for i in (0, 1)] + [
    "b/p3_0.png", "b/p3_1.png", "b/p4_0.png", "b/p4_1.png", "b/p5_0.png", "a/p5_1.png",
]  # fmt: skip


def patient_of(path):
    return path.split("/")[-1].split("_")[0]


def entries_of(paths):
    names = sorted({path.split("/")[0] for path in paths})
    return [(path, names.index(path.split("/")[0]), path.split("/")[0]) for path in paths]


def patients_of_parts(split):
    return [{patient_of(path) for path, _, _ in part} for part in split.parts().values()]


def assert_disjoint(parts):
    for k, part in enumerate(parts):
        for other in parts[k + 1 :]:
            assert not part & other


def many(patients=30, images=3):
    """Images of two classes in which every third patient is of class b."""
    return [f"{'aab'[k % 3]}/p{k:02d}_{i}.png" for k in range(patients) for i in range(images)]


def test_twelve_images_of_six_patients(tmp_path):
    split = dataset(write_images(tmp_path, TWELVE), *BY_NAME).split
    assert sorted(path for path, _, _ in split.entries()) == sorted(TWELVE)
    assert_disjoint(patients_of_parts(split))
    for part in split.parts().values():
        assert {name for _, _, name in part} == {"a", "b"}
    assert split.origin == "generated"
    (path,) = (tmp_path / "Mine").glob("split_Mine*.json")
    assert path.name != "split_Mine.json"
    again = dataset(tmp_path, *BY_NAME).split
    assert (again, again.origin) == (split, "generated")


def test_splits_by_patients_are_stratified():
    """20 patients of class a and 10 of b, 3 images each: about 50, 17 and 33 % of both."""
    entries = entries_of(many())
    parts = by_patients(entries, {path: patient_of(path) for path, _, _ in entries})
    assert_disjoint([{patient_of(path) for path, _, _ in part} for part in parts.values()])
    shares = {
        part: [sum(label == number for _, label, _ in found) / total for number, total in ((0, 60), (1, 30))]
        for part, found in parts.items()
    }
    for part, expected in {"train": 0.5, "val": 1 / 6, "test": 1 / 3}.items():
        assert shares[part] == pytest.approx([expected, expected], abs=0.07), part


def test_the_patient_is_the_first_group_or_the_whole_match():
    paths = ["a/p1_0.png", "b/p2_7.png"]
    assert patients_by_path(paths, r"p\d") == dict(zip(paths, ("p1", "p2"), strict=True))
    assert patients_by_path(paths, r"p(\d)_(\d)") == dict(zip(paths, ("1", "2"), strict=True))
    assert patients_by_path(paths, r"^(\w)/") == dict(zip(paths, ("a", "b"), strict=True))
    with pytest.raises(InputError, match=r"'p1' finds no patient in 1 of 2 paths: 'b/p2_7.png'"):
        patients_by_path(paths, "p1")
    with pytest.raises(InputError, match="finds no patient in 2 of 2"):
        patients_by_path(paths, "x*")
    with pytest.raises(InputError, match="finds no patient in 2 of 2"):
        patients_by_path(paths, "(x)?p")
    with pytest.raises(InputError, match=r"'\(p' is neither a regular expression .* nor a column of images.csv"):
        patients_by_path(paths, "(p")


def test_too_few_patients_are_refused_with_the_numbers(tmp_path):
    write_images(tmp_path, [path for path in TWELVE if "p3" not in path])
    with pytest.raises(InputError, match=r"at least 3 patients of each class, and in '.*' 'b' has 2; add images"):
        dataset(tmp_path, *BY_NAME)
    assert dataset(tmp_path).split.origin == "generated"  # single images are enough


def test_a_patient_in_two_parts_of_a_given_split_is_refused(tmp_path):
    write_images(tmp_path, TWELVE)
    entries = entries_of(TWELVE)
    of = {part: [e for e in entries if patient_of(e[0]) in whose] for part, whose in (("train", ("p0", "p3", "p5")),)}
    val = [e for e in entries if patient_of(e[0]) == "p1"] + [entries[8]]
    test = [e for e in entries if patient_of(e[0]) == "p2"] + [entries[9]]
    path = write_split(tmp_path, of["train"], val, test)
    assert dataset(tmp_path).split.origin == "custom"
    with pytest.raises(InputError, match=r"1 of 6 patients in two parts: patient 'p4' \(val: 'b/p4_0.png', test: 'b/"):
        dataset(tmp_path, *BY_NAME)
    write_split(tmp_path, of["train"], [*val, entries[9]], [*test[:-1], entries[10]])
    with pytest.raises(InputError, match=f"'{path}'.*: 'b/p5_0.png' \\(train, test\\)|in two parts: 'b/p5_0.png'"):
        dataset(tmp_path, *BY_NAME)
    write_split(tmp_path, [e for e in of["train"] if "p5" not in e[0]], [*val, entries[9]], [*test[:-1], entries[10]])
    split = dataset(tmp_path, *BY_NAME)
    assert split.split.origin == "custom"
    assert len(split.test) == 3


def test_a_generated_split_of_single_images_gives_way_to_one_by_patients(tmp_path):
    write_images(tmp_path, TWELVE)
    single = dataset(tmp_path).split
    grouped = dataset(tmp_path, *BY_NAME).split
    assert grouped.digest() != single.digest()
    assert dataset(tmp_path).split == single
    for opts, expected in (((), single), (BY_NAME, grouped)):
        path, digest = Contents(settings(tmp_path, *opts)).split
        assert (path.is_file(), digest) == (True, expected.digest())


def test_draws_take_as_many_patients_as_possible():
    entries = [(f"a/p{k}_{i}.png", 0, "a") for k in range(4) for i in range(5)] + [("b/p0_9.png", 1, "b")]
    patients = {path: patient_of(path) for path, _, _ in entries}
    for seed in range(5):
        drawn = draw_of_patients(entries, 4, patients, random.Random(seed))
        assert sorted(patients[path] for path, _, _ in drawn) == ["p0", "p0", "p1", "p2", "p3"]
        drawn = draw_of_patients(entries, 6, patients, random.Random(seed))
        of_a = [patients[path] for path, label, _ in drawn if label == 0]
        assert sorted(of_a.count(f"p{k}") for k in range(4)) == [1, 1, 2, 2]
        assert len(set(drawn)) == 7
    assert draw_of_patients(entries, 4, patients, random.Random(1)) != draw_of_patients(
        entries, 4, patients, random.Random(2)
    )


def test_draws_without_patients_are_unchanged_and_those_with_them_are_stored_apart(tmp_path):
    write_images(tmp_path, many())
    by_patients_ = dataset(tmp_path, *BY_NAME, shots=4)
    assert len({patient_of(path) for path in paths_of(by_patients_.train_x)}) == 8
    entries = entries_of(many())
    split = Split(entries, entries, entries, "custom")
    assert few_shot(split, 2, 1) == few_shot(split, 2, 1, None)
    names = [path.name for path in (tmp_path / "Mine" / "split_fewshot").iterdir()]
    assert names == [f"4shots_seed1_{by_patients_.split.digest()}{by_patients_.source.by}.json"]
    assert by_patients_.source.by.startswith("_by-")


@pytest.mark.parametrize("opts", [(), BY_NAME])
@pytest.mark.parametrize("count", [2, 3, 5])
def test_folds_test_every_image_once(tmp_path, opts, count):
    write_images(tmp_path, many())
    found = [
        dataset(tmp_path, "DATASET.FOLDS", count, "DATASET.FOLD", fold, *opts).split for fold in range(1, count + 1)
    ]
    assert sorted(path for split in found for path, _, _ in split.test) == sorted(many())
    for split in found:
        assert sorted(path for path, _, _ in split.entries()) == sorted(many())
        assert split.origin == "generated"
        assert all({name for _, _, name in part} == {"a", "b"} for part in split.parts().values())
        if opts:
            assert_disjoint(patients_of_parts(split))
        share = [sum(name == "b" for _, _, name in part) / len(part) for part in split.parts().values()]
        assert share == pytest.approx([1 / 3] * 3, abs=0.1)
        assert len(split.test) == pytest.approx(90 / count, abs=4)
    assert len(list((tmp_path / "Mine").glob(f"split_Mine*_fold*of{count}.json"))) == count


def test_twelve_images_in_three_folds_of_whole_patients():
    entries = entries_of(TWELVE)
    divisions = into_folds(entries, 3, {path: patient_of(path) for path, _, _ in entries})
    assert sorted(path for division in divisions for path, _, _ in division["test"]) == sorted(TWELVE)
    for division in divisions:
        assert_disjoint([{patient_of(path) for path, _, _ in part} for part in division.values()])
        assert all(part for part in division.values())


def test_too_many_folds_are_refused(tmp_path):
    write_images(tmp_path, TWELVE)
    with pytest.raises(InputError, match=r"FOLDS 6 needs 6 images of each class, and class 'b' has 5; use fewer folds"):
        dataset(tmp_path, "DATASET.FOLDS", 6)
    with pytest.raises(InputError, match=r"FOLDS 4 needs 4 patients of each class, and class 'b' has 3"):
        dataset(tmp_path, "DATASET.FOLDS", 4, *BY_NAME)
    assert not list((tmp_path / "Mine").glob("split_*"))


def test_the_projects_data_sets_have_no_folds(tmp_path):
    cfg = build_cfg(Choice("ZeroShot", dataset="btmri", root=str(tmp_path), opts=["DATASET.FOLDS", "3"]))
    with pytest.raises(InputError, match=r"DATASET.FOLDS 3 is for the data set Folder.*'BTMRI' has a split"):
        build_dataset(cfg)


def test_folds_are_of_the_same_images(tmp_path):
    write_images(tmp_path, many())
    first = dataset(tmp_path, "DATASET.FOLDS", 3, "DATASET.FOLD", 1).split
    write_image(tmp_path / "Mine" / "Mine" / "a" / "new.png", 5000)
    second = dataset(tmp_path, "DATASET.FOLDS", 3, "DATASET.FOLD", 2).split
    assert not {*first.test} & {*second.test}
    assert len(second.entries()) == 90
    (tmp_path / "Mine" / "split_Mine_fold2of3.json").unlink()
    with pytest.raises(InputError, match=r"split_Mine_fold1of3.json' is a split of other images than there are"):
        dataset(tmp_path, "DATASET.FOLDS", 3, "DATASET.FOLD", 2)


def test_stored_draws_can_be_read(tmp_path):
    write_images(tmp_path, many())
    data = dataset(tmp_path, *BY_NAME, shots=2)
    (path,) = (tmp_path / "Mine" / "split_fewshot").iterdir()
    assert [e[0] for e in json.loads(path.read_text())["train"]] == paths_of(data.train_x)
    assert module.check_patients(data.split.parts(), {p: patient_of(p) for p in many()}, "it") is None
