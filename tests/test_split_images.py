"""The images of a split on the disk: nested, linked, missing, in no part, and of equal content."""

import json
import re

import pytest

from configs import Choice, build_cfg
from dassl.data.datasets import build_dataset
from dassl.errors import InputError
from datasets.listing import images_below
from datasets.splits import make_split
from tests.own_images import class_folders, dataset, write_image, write_images, write_split


def test_nested_folders_are_read_and_hidden_files_are_not(tmp_path):
    paths = [f"{name}/{sub}/{k}.PNG" for name in "ab" for sub in ("2023/jan", "2024") for k in range(3)]
    root = write_images(tmp_path, [*paths, "a/.hidden.png", "a/.thumbs/0.png", "a/notes.txt.png"])
    (root / "Mine" / "Mine" / "a" / "circle").symlink_to(root / "Mine" / "Mine" / "a")
    (root / "Mine" / "Mine" / "a" / "folder.png").mkdir()
    (root / "Mine" / "Mine" / "a" / "text.txt").write_text("no image")
    found = dataset(root).split.entries()
    assert sorted(path for path, _, _ in found) == sorted([*paths, "a/notes.txt.png"])
    assert {path.split("/")[0] == name for path, _, name in found} == {True}


def test_links_to_images_elsewhere_are_followed(tmp_path):
    write_images(tmp_path, [f"{k}.png" for k in range(6)], below="archive")
    for name in "ab":
        (tmp_path / "Mine" / "Mine").mkdir(parents=True, exist_ok=True)
        (tmp_path / "Mine" / "Mine" / name).symlink_to(tmp_path / "archive")
    assert len(images_below(tmp_path / "Mine" / "Mine" / "b")) == 6
    assert [len(part) for part in dataset(tmp_path).split.parts().values()] == [6, 2, 4]


def test_file_names_that_a_split_cannot_hold_are_refused(tmp_path):
    class_folders(tmp_path, {"a": 3, "b": 3})
    write_image(tmp_path / "Mine" / "Mine" / "a" / "back\\slash.png", 9)
    with pytest.raises(InputError, match=r"the images in '.*Mine' cannot be used:\n- 1 path has a backslash"):
        make_split(tmp_path / "Mine" / "Mine", ["a", "b"])


def test_a_class_with_few_images_is_named_with_the_way_out(tmp_path):
    class_folders(tmp_path, {"a": 10, "b": 2, "c": 1})
    with pytest.raises(InputError, match=r"at least 3 images of each class.*'b' has 2, 'c' has 1; add images, or test"):
        dataset(tmp_path)


def test_images_in_no_split_are_said_each_time(tmp_path, capsys):
    class_folders(tmp_path, {"a": 10, "b": 10})
    dataset(tmp_path)
    assert "note:" not in capsys.readouterr().out
    write_image(tmp_path / "Mine" / "Mine" / "b" / "new.png", 77)
    write_image(tmp_path / "Mine" / "Mine" / "strange.png", 78)
    for _ in range(2):
        assert len(dataset(tmp_path).split.entries()) == 20
        said = capsys.readouterr().out
        assert re.search(r"note: 2 of 22 images in '.*Mine' are in no part of .*: 'b/new.png', 'strange.png'", said)


def test_equal_content_in_two_parts(tmp_path, capsys):
    class_folders(tmp_path, {"a": 10, "b": 10})
    images = tmp_path / "Mine" / "Mine"
    split = dataset(tmp_path).split
    assert "warning" not in capsys.readouterr().out
    (train, *_), (val, *_), (test, other, *_) = ([path for path, _, _ in part] for part in split.parts().values())
    (images / test).write_bytes((images / train).read_bytes())
    (images / other).write_bytes((images / val).read_bytes())
    dataset(tmp_path)
    warning = rf"2 of 6 test images are also in train or val: '{test}' = '{train}', '{other}' = '{val}' "
    assert re.search(f"warning: images with equal content.*: {warning}", capsys.readouterr().out)
    dataset(tmp_path, "DATASET.DUPLICATES", "allow")
    assert "warning" not in capsys.readouterr().out
    with pytest.raises(InputError, match=f"2 of 6 test images .*'{test}' = .*DATASET.DUPLICATES"):
        dataset(tmp_path, "DATASET.DUPLICATES", "error")


def test_equal_content_within_a_part_is_no_leak(tmp_path, capsys):
    class_folders(tmp_path, {"a": 10, "b": 10})
    split = dataset(tmp_path).split
    first, second = (tmp_path / "Mine" / "Mine" / path for path, _, _ in split.train[:2])
    first.write_bytes(second.read_bytes())
    dataset(tmp_path, "DATASET.DUPLICATES", "error")


def test_working_with_a_subset_of_the_images_of_a_split(tmp_path):
    """Both ways that the message names."""
    class_folders(tmp_path, {"a": 10, "b": 10})
    split = dataset(tmp_path).split
    gone = split.test[0]
    (tmp_path / "Mine" / "Mine" / gone[0]).unlink()
    message = (
        rf"1 of 20 images of the split are missing .*'{gone[0]}'.* the images that are there, move '(.*)' away.*or "
    )
    with pytest.raises(InputError, match=message) as refused:
        dataset(tmp_path)
    path = tmp_path / "Mine" / "split_Mine.json"
    assert re.search(message, str(refused.value))[1] == str(path)
    write_split(tmp_path, split.train, split.val, split.test[1:])
    subset = dataset(tmp_path)
    assert (len(subset.test), subset.split.origin) == (5, "custom")
    path.rename(tmp_path / "away.json")
    made = dataset(tmp_path)
    assert (len(made.split.entries()), made.split.origin) == (19, "generated")


def test_working_with_a_subset_of_the_images_of_an_official_split(shared, tmp_path):
    content = json.loads((shared / "splits" / "split_BUSI.json").read_text())
    present = {
        part: [e for label in range(3) for e in [e for e in content[part] if e[1] == label][:2]] for part in content
    }
    write_images(tmp_path, [file for part in present.values() for file, _, _ in part], below="BUSI/BUSI")
    path = tmp_path / "BUSI" / "split_BUSI.json"

    def busi():
        return build_dataset(build_cfg(Choice("ZeroShot", dataset="busi", root=str(tmp_path), shots=1)))

    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"762 of 780 images .*datasets.fetch busi.*move '.*BUSI.json' away"):
        busi()
    path.write_text(json.dumps(present))
    assert (busi().split.origin, len(busi().test)) == ("custom", 6)
    path.unlink()
    assert (busi().split.origin, len(busi().split.entries())) == ("generated", 18)
