"""Splits, few-shot subsets and error messages of data sets."""

import json
import random
import shutil
from collections import defaultdict

import pytest
from PIL import Image

from configs import Choice, build_cfg
from dassl.data.datasets import build_dataset
from dassl.errors import InputError
from dassl.utils import cache_dir
from datasets.splits import Split, derived_folder, few_shot, make_split, read_split, subsample
from tests.registered import DATASETS

OFFICIAL = [cls for cls in DATASETS if cls.in_paper and cls.folder != "OCTMNIST"]


@pytest.fixture(scope="module")
def official(shared):
    return {cls.folder: read_split(shared / "splits" / f"split_{cls.folder}.json") for cls in OFFICIAL}


def coop_style_draw(split_file, shots, seed):
    """An independent implementation of the sampling rule of CoOp-style code."""
    content = json.loads(split_file.read_text())
    random.seed(seed)
    drawn = []
    for part, count in (("train", shots), ("val", min(shots, 4))):
        by_label = defaultdict(list)
        for entry in content[part]:
            by_label[entry[1]].append(entry[0])
        drawn.append([file for files in by_label.values() for file in random.sample(files, count)])
    return drawn


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("shots", [1, 2, 4, 8, 16])
def test_few_shot_images_equal_those_of_coop_style_code(shared, official, shots, seed):
    for cls in OFFICIAL:
        expected = coop_style_draw(shared / "splits" / f"split_{cls.folder}.json", shots, seed)
        drawn = few_shot(official[cls.folder], shots, seed)
        assert [[file for file, _, _ in part] for part in drawn] == expected, cls.folder


def test_official_splits_have_the_declared_classes_and_sizes(shared, official):
    import yaml

    facts = {v["folder"]: v for v in yaml.safe_load((shared / "facts" / "datasets.yaml").read_text()).values()}
    for cls in OFFICIAL:
        split, fact = official[cls.folder], facts[cls.folder]
        assert split.classnames() == list(cls.classes) == fact["classes"]
        assert [len(split.train), len(split.val), len(split.test)] == list(fact["sizes"].values())
        assert cls.drive_id == fact["drive_id"]


def test_few_shot_draw_by_hand():
    entries = [(f"{name}/{k}.png", label, name) for label, name in ((1, "b"), (0, "a")) for k in range(6)]
    split = Split(train=entries, val=entries, test=entries, origin="official")
    train, val = few_shot(split, 5, seed=7)
    rng = random.Random(7)
    expected = [rng.sample([e for e in entries if e[1] == label], count) for count in (5, 4) for label in (1, 0)]
    assert train == expected[0] + expected[1]
    assert val == expected[2] + expected[3]
    assert few_shot(split, 5, seed=7) == (train, val) != few_shot(split, 5, seed=8)
    with pytest.raises(InputError, match=r"7 shots were asked for, but class 'a' has 6 training images; use --shots 6"):
        few_shot(split, 7, seed=1)


def test_base_and_new_classes():
    assert subsample(range(4), "base") == [0, 1]
    assert subsample(range(5), "base") == [0, 1, 2]
    assert subsample(range(5), "new") == [3, 4]
    assert subsample([2, 0, 1], "all") == [0, 1, 2]
    with pytest.raises(InputError, match="'all', 'base' or 'new', not 'old'"):
        subsample(range(4), "old")


def own_data(root, counts):
    """Make a data root with a folder of small grey images for the data set Folder."""
    for name, count in counts.items():
        folder = root / "Mine" / "Mine" / name
        folder.mkdir(parents=True)
        for k in range(count):
            Image.new("L", (8, 8), k).save(folder / f"{k:02d}.png")
    return root


def own_dataset(root, shots=-1, **words):
    opts = ["DATASET.NAME", "Folder", "DATASET.FOLDER", "Mine", "DATASET.NUM_SHOTS", str(shots)]
    return build_dataset(build_cfg(Choice("ZeroShot", root=str(root), opts=opts, **words)))


def test_split_of_an_own_folder_is_made_once(tmp_path, capsys):
    own_data(tmp_path, {"rare_disease": 10, "healthy": 20})
    dataset = own_dataset(tmp_path)
    assert dataset.classnames == ["healthy", "rare disease"]
    assert [len(part) for part in (dataset.train_x, dataset.val, dataset.test)] == [15, 6, 9]
    files = [item.impath for part in (dataset.train_x, dataset.val, dataset.test) for item in part]
    assert len(set(files)) == 30
    assert "made a seeded split" in capsys.readouterr().out
    assert (tmp_path / "Mine" / "split_Mine.json").is_file()
    again = own_dataset(tmp_path)
    assert "made a seeded split" not in capsys.readouterr().out
    assert [item.impath for item in again.train_x] == [item.impath for item in dataset.train_x]
    assert again.split.origin == "generated"


def test_few_shot_subset_is_saved_with_relative_paths(tmp_path):
    own_data(tmp_path, {"a": 10, "b": 10})
    dataset = own_dataset(tmp_path, shots=2)
    (path,) = (tmp_path / "Mine" / "split_fewshot").iterdir()
    assert path.name == f"2shots_seed1_{dataset.split.digest()}.json"
    stored = json.loads(path.read_text())
    assert [entry[0] for entry in stored["train"]] == ["/".join(i.impath.split("/")[-2:]) for i in dataset.train_x]
    assert len(stored["val"]) == 4


def test_read_only_folder_is_not_written_to(tmp_path):
    own_data(tmp_path, {"a": 10, "b": 10})
    (tmp_path / "Mine").chmod(0o555)
    try:
        dataset = own_dataset(tmp_path, shots=2)
        assert sorted(p.name for p in (tmp_path / "Mine").iterdir()) == ["Mine"]
        assert len(dataset.train_x) == 4
    finally:
        (tmp_path / "Mine").chmod(0o755)


def test_folder_without_write_permission_is_not_written_to(tmp_path, monkeypatch):
    own_data(tmp_path, {"a": 10, "b": 10})
    monkeypatch.setattr("os.access", lambda path, mode: str(path) != str(tmp_path / "Mine"))
    assert derived_folder(tmp_path / "Mine").is_relative_to(cache_dir())
    assert len(own_dataset(tmp_path, shots=2).train_x) == 4
    assert sorted(p.name for p in (tmp_path / "Mine").iterdir()) == ["Mine"]


def test_new_classes_are_relabelled_and_disjoint_from_base(tmp_path):
    own_data(tmp_path, {"a": 10, "b": 10, "c": 10})
    dataset = own_dataset(tmp_path, protocol="base2new")
    assert dataset.classnames == ["a", "b"]
    items, names = dataset.test_of("new")
    assert names == ["c"]
    assert {(item.label, item.classname) for item in items} == {(0, "c")}


def test_errors_name_the_path_and_say_what_to_do(tmp_path):
    with pytest.raises(InputError, match=r"data root '.*nowhere' does not exist.*--root.*datasets.fetch btmri"):
        build_dataset(build_cfg(Choice("ZeroShot", dataset="btmri", root=str(tmp_path / "nowhere"))))
    with pytest.raises(InputError, match=r"image folder '.*BTMRI' does not exist; it must hold .*'glioma_tumor'"):
        build_dataset(build_cfg(Choice("ZeroShot", dataset="btmri", root=str(tmp_path))))
    own_data(tmp_path, {"glioma": 5, "meningioma_tumor": 5})
    (tmp_path / "BTMRI").mkdir()
    shutil.move(tmp_path / "Mine" / "Mine", tmp_path / "BTMRI" / "BTMRI")
    with pytest.raises(InputError, match=r"missing \['glioma_tumor', .*unknown \['glioma'\]"):
        build_dataset(build_cfg(Choice("ZeroShot", dataset="btmri", root=str(tmp_path))))


def test_split_files_of_other_images_or_classes_are_refused(tmp_path):
    own_data(tmp_path, {"a": 10, "b": 0})
    split = tmp_path / "Mine" / "split_Mine.json"
    parts = {part: [[f"a/{k:02d}.png", 0, "a"], [f"b/{k}.png", 1, "b"]] for k, part in enumerate(("train", "val"))}
    split.write_text(json.dumps({**parts, "test": [["a/09.png", 0, "a"], ["b/99.png", 1, "b"]]}))
    with pytest.raises(InputError, match=r"3 of 6 images of the split are missing .* the first is 'b/0.png'"):
        own_dataset(tmp_path)
    parts = {part: [[f"a/0{k}.png", 0, "other"]] for k, part in enumerate(("train", "val", "test"))}
    split.write_text(json.dumps(parts))
    with pytest.raises(InputError, match=r"has the classes \['other'\], but Folder expects \['a', 'b'\]"):
        own_dataset(tmp_path)


def test_parts_of_a_generated_split_are_disjoint(tmp_path):
    own_data(tmp_path, {"a": 7, "b": 40})
    split = make_split(tmp_path / "Mine" / "Mine", ["a", "b"])
    parts = [{file for file, _, _ in part} for part in (split.train, split.val, split.test)]
    assert not parts[0] & parts[1]
    assert not (parts[0] | parts[1]) & parts[2]
    assert sum(file.startswith("b/") for file in parts[0]) == 20
    assert sum(file.startswith("b/") for file in parts[2]) == 12


def test_phantom_images_are_reproducible(phantom_root, tmp_path, monkeypatch):
    from datasets import phantom

    monkeypatch.setattr(phantom, "IMAGES_PER_CLASS", 2)
    phantom.generate(tmp_path / "Phantom" / "Phantom", phantom.Phantom.classes)
    made = sorted((tmp_path / "Phantom" / "Phantom").rglob("*.png"))
    assert len(made) == 16
    for path in made:
        assert path.read_bytes() == (phantom_root / path.relative_to(tmp_path)).read_bytes()
    assert not list((tmp_path / "Phantom").glob(".phantom-*"))


def test_archives_with_members_outside_their_folder_are_refused(tmp_path):
    import io
    import tarfile
    import zipfile

    from dassl.data.datasets.download import unpack

    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        archive.writestr("../escaped.txt", "no")
    with pytest.raises(InputError, match="outside its folder"):
        unpack(str(tmp_path / "bad.zip"), str(tmp_path / "in"))
    with tarfile.open(tmp_path / "bad.tar", "w") as archive:
        entry = tarfile.TarInfo("../escaped.txt")
        archive.addfile(entry, io.BytesIO())
    with pytest.raises(InputError, match="cannot be unpacked safely"):
        unpack(str(tmp_path / "bad.tar"), str(tmp_path / "in"))
    assert not (tmp_path / "escaped.txt").exists()
    with zipfile.ZipFile(tmp_path / "good.zip", "w") as archive:
        archive.writestr("BUSI/BUSI/a.txt", "yes")
    unpack(str(tmp_path / "good.zip"), str(tmp_path / "in"))
    assert (tmp_path / "in/BUSI/BUSI/a.txt").read_text() == "yes"
