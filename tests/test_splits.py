"""Splits that cannot be used are refused, with their entries named; what is odd but usable is said."""

import json

import pytest

from dassl.errors import InputError
from datasets.divide import by_images
from datasets.official import DIGESTS
from datasets.split_check import path_problem
from datasets.splits import make_split, read_split
from tests.own_images import class_folders, dataset, paths_of, write_images, write_split
from tests.registered import DATASETS


def entry(path="a/0.png", label=0, name="a"):
    return [path, label, name]


def good():
    """A split of 6 images: one of each class in each part."""
    return {
        part: [[f"{name}/{k}.png", label, name] for label, name in enumerate("ab")]
        for k, part in enumerate(("train", "val", "test"))
    }


def changed(**parts):
    return {**good(), **parts}


def with_entry(*words, **more):
    return changed(test=[*good()["test"], entry(*words, **more)])


REFUSED = {
    "two parts": (with_entry("a/0.png"), r"1 image in two parts: 'a/0.png' \(train, test\)"),
    "all parts": (changed(val=good()["train"], test=good()["train"]), r"2 images in two parts: .*\(train, val, test\)"),
    "twice": (with_entry("a/2.png"), r"1 image listed twice: 'a/2.png' \(test\)"),
    "two labels": (with_entry("a/2.png", 1, "b"), r"1 image under two labels: 'a/2.png' \(0, 1\)"),
    "a label with two names": (with_entry("a/9.png", 0, "A"), "disagree: label 0 is 'A' and 'a'"),
    "a name with two labels": (with_entry("a/9.png", 2, "a"), "disagree: 'a' has labels 0 and 2"),
    "a gap": (changed(**{part: [[f"a/{part}.png", 0, "a"], [f"b/{part}", 2, "b"]] for part in good()}), "label 1;"),
    "no label 0": (changed(**{part: [[f"a/{part}.png", 1, "a"]] for part in good()}), "no image has label 0"),
    "a huge label": (changed(**{part: [[f"a/{part}.png", 2**62, "a"]] for part in good()}), "no image has label 0"),
    "class missing in training": (changed(train=[entry()]), "train has no images of 1 class: 'b'"),
    "class missing in validation": (changed(val=[entry("a/1.png")]), "val has no images of 1 class: 'b'"),
    "class missing in test": (changed(test=[entry("a/2.png")]), "test has no images of 1 class: 'b'"),
    "no test": (changed(test=[]), "there are no test images"),
    "nothing": ({"train": [], "val": [], "test": []}, "there are no test images"),
    "absolute": (with_entry("/etc/passwd"), "1 path lies outside the image folder.*: '/etc/passwd'"),
    "above": (with_entry("../x.png"), "outside the image folder"),
    "above from below": (with_entry("a/../../x.png"), "outside the image folder"),
    "drive": (with_entry("C:/x.png"), "outside the image folder"),
    "backslash": (with_entry("a\\..\\x.png"), "backslash; folders are separated by /"),
    "NUL": (with_entry("a/\0.png"), r"letters that are no text; rename the file: 'a/\\x00.png'"),
    "newline": (with_entry("a/\n.png"), "letters that are no text"),
    "surrogate": (with_entry("a/\udcff.png"), "cannot be read"),
    "empty path": (with_entry(""), "is empty"),
    "blank path": (with_entry(" "), "is empty"),
    "two names for one file": (with_entry("a/./0.png"), "has an empty part or '.'"),
    "empty part": (with_entry("a//0.png"), "has an empty part or '.'"),
    "label true": (with_entry("a/9.png", True), r"entry 3 of test is \['a/9.png', True, 'a'\]"),
    "label 1.0": (with_entry("a/9.png", 1.0), "label is a whole number from 0"),
    "label text": (with_entry("a/9.png", "1"), "label is a whole number from 0"),
    "label null": (with_entry("a/9.png", None), "label is a whole number from 0"),
    "label below 0": (with_entry("a/9.png", -1), "label is a whole number from 0"),
    "label above 64 bits": (with_entry("a/9.png", 10**30), "label is a whole number from 0"),
    "label NaN": (with_entry("a/9.png", float("nan")), "cannot be read"),
    "path is a number": (with_entry(7), "the names are texts"),
    "name is a number": (with_entry(name=7), "the names are texts"),
    "empty class name": (with_entry("a/9.png", 0, " "), "the names are texts"),
    "short entry": (changed(test=[["a.png", 0]]), r"each a list of \[path, label, class name\]"),
    "long entry": (changed(test=[["a.png", 0, "a", 1]]), r"each a list of \[path, label, class name\]"),
    "flat": (changed(test=["a.png", 0, "a"]), r"entry 1 of test is 'a.png'"),
    "deeper": (changed(test=[[["a.png", 0, "a"]]]), r"each a list of"),
    "entries as objects": (changed(test=[{"path": "a.png", "label": 0, "name": "a"}]), r"each a list of"),
    "a part is an object": (changed(test={}), "must hold 'train', 'val' and 'test'"),
    "a part is missing": ({"train": [], "test": []}, "must hold 'train', 'val' and 'test'"),
    "a list": ([[], [], []], "must hold 'train', 'val' and 'test'"),
    "null": (None, "must hold 'train', 'val' and 'test'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_malformed_splits_are_refused_by_their_entries(tmp_path, case):
    content, message = REFUSED[case]
    path = tmp_path / "split.json"
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=message) as refused:
        read_split(path)
    assert f"split file '{path}'" in str(refused.value)
    assert len(str(refused.value).splitlines()) <= 10


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        json.dumps(good()).encode("utf-16"),
        json.dumps(with_entry("a/é.png"), ensure_ascii=False).encode("latin-1"),
        b"[" * 100_000,
        b'{"train": ' + b"[" * 100_000 + b"]" * 100_000 + b', "val": [], "test": []}',
    ],
)
def test_files_that_are_no_json_are_refused(tmp_path, text):
    path = tmp_path / "split.json"
    path.write_bytes(text)
    with pytest.raises(InputError, match=r"split file '.*' cannot be read .*replace the file"):
        read_split(path)


def test_good_splits_are_read(tmp_path):
    path = tmp_path / "split.json"
    for text in (json.dumps(good()).encode(), b"\xef\xbb\xbf" + json.dumps(good()).encode()):
        path.write_bytes(text)
        split = read_split(path)
        assert split.parts() == {part: [tuple(e) for e in entries] for part, entries in good().items()}
        assert split.classnames() == ["a", "b"]
    path.write_text(json.dumps(changed(val=[])))
    assert read_split(path).val == []
    path.write_text(json.dumps({"train": [], "val": [], "test": [entry(label=3)]}))  # tests a model of 4 classes
    assert read_split(path).test == [("a/0.png", 3, "a")]


def test_many_problems_make_a_short_message(tmp_path):
    path = tmp_path / "split.json"
    path.write_text(json.dumps(changed(test=[entry(f"/{'x' * 500}{k}.png") for k in range(5000)])))
    with pytest.raises(InputError, match=r"5,000 paths lie.* \(and 4,997 more\)") as refused:
        read_split(path)
    assert len(str(refused.value)) < 1000


@pytest.mark.parametrize("path", ["a.png", "a/b (1).png", "ä/病.png", "a/b/c.d/e..png", "a/...png", "ab:c/d.png"])
def test_plain_paths(path):
    assert path_problem(path) == ""


def test_official_splits_are_known_by_their_content(shared, tmp_path):
    folders = {cls.folder for cls in DATASETS if cls.in_paper} - {"OCTMNIST"}
    files = sorted((shared / "splits").iterdir())
    assert {path.name for path in files} == {f"split_{folder}.json" for folder in folders} == set(DIGESTS.values())
    for path in files:
        split = read_split(path)
        assert (split.origin, DIGESTS[split.digest()]) == ("official", path.name)
    content = json.loads(files[0].read_text())
    other = tmp_path / "split.json"
    other.write_text(json.dumps({**content, "origin": "generated"}, indent=4))
    assert read_split(other).origin == "official"
    content["test"].pop()
    other.write_text(json.dumps({**content, "origin": "official"}))
    assert read_split(other).origin == "custom"


def test_a_split_that_someone_wrote_is_custom_whatever_it_says(tmp_path):
    class_folders(tmp_path, {"a": 10, "b": 10})
    made = make_split(tmp_path / "Mine" / "Mine", ["a", "b"])
    assert made.origin == "generated"
    for word in ("official", "generated", 7):
        path = write_split(tmp_path, made.train, made.val, made.test, origin=word)
        assert read_split(path).origin == "generated"
        path = write_split(tmp_path, made.val, made.train, made.test, origin=word)
        assert read_split(path).about()["origin"] == "custom"


def test_another_order_of_classes_is_refused(tmp_path):
    write_images(tmp_path, [f"{name}/{k}.png" for name in "ab" for k in range(3)])
    write_split(tmp_path, **good())
    assert dataset(tmp_path, shots=1).classnames == ["a", "b"]
    with pytest.raises(InputError, match=r"has the classes \['a', 'b'\], but Folder expects \['b', 'a'\]"):
        dataset(tmp_path, "DATASET.CLASSES", "['b','a']")


def test_settings_of_a_folder_that_cannot_be_one(tmp_path):
    for folder in ("../Mine", "/tmp", "a\\b", ".."):
        with pytest.raises(InputError, match="must be the name of a folder in the data root"):
            dataset(tmp_path, "DATASET.FOLDER", folder)
    with pytest.raises(InputError, match="must differ in more than _ for a space"):
        dataset(tmp_path, "DATASET.CLASSES", "['a b','a_b']")
    with pytest.raises(InputError, match=r"DATASET\.ROOT is '~nouser/data'; it must not begin with '~'"):
        dataset("~nouser/data")


def test_seeded_division_is_that_of_earlier_versions():
    """By hand: Python's shuffle with seed 0 of each class in turn, then 50, 20 and 30 %."""
    import random

    names = {"a": [f"a/{k}.png" for k in range(7)], "b": [f"b/{k}.png" for k in range(10)]}
    rng, expected = random.Random(0), {"train": [], "val": [], "test": []}
    for label, (name, files) in enumerate(names.items()):
        files = sorted(files)
        rng.shuffle(files)
        cut = {"train": files[:4], "val": files[4:5], "test": files[5:]}
        if name == "b":
            cut = {"train": files[:5], "val": files[5:7], "test": files[7:]}
        for part, chosen in cut.items():
            expected[part] += [(file, label, name) for file in chosen]
    entries = [(file, label, name) for label, (name, files) in enumerate(names.items()) for file in reversed(files)]
    assert by_images(entries) == expected


def test_few_shot_items_are_those_of_the_split(tmp_path):
    class_folders(tmp_path, {"a": 10, "b": 10})
    drawn = dataset(tmp_path, shots=2)
    assert len(paths_of(drawn.train_x)) == 4
    assert {*paths_of(drawn.train_x)} <= {path for path, _, _ in drawn.split.train}
