"""Digests of the content of images, which cached features belong to."""

import hashlib
import os
import shutil
from pathlib import Path

import pytest
import torch

from dassl.errors import InputError
from datasets import digests
from datasets.digests import content_digests, digests_of_groups


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Three files that were last changed long ago, two with equal content, and which of them were read."""
    monkeypatch.setenv("BIOMED_DPT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(digests, "SETTLED_NS", -(10**18))
    read, compute = [], digests._digest
    monkeypatch.setattr(digests, "_digest", lambda path: read.append(Path(path).name) or compute(path))
    folder = tmp_path / "images"
    folder.mkdir()
    for name, content in (("a", b"one"), ("b", b"two"), ("c", b"one")):
        (folder / name).write_bytes(content)
    return [str(folder / name) for name in "abc"], read


def sha(content):
    return hashlib.sha256(content).hexdigest()


def test_equal_contents_have_equal_digests_and_are_read_once(files):
    paths, read = files
    expected = dict(zip(paths, (sha(b"one"), sha(b"two"), sha(b"one")), strict=True))
    assert content_digests(paths) == expected
    assert content_digests(reversed(paths)) == expected
    assert sorted(read) == ["a", "b", "c"]
    one, other, third = digests_of_groups([paths, paths[::-1], [paths[2], paths[1], paths[0]]])
    assert one == other == third, "a and c are the same content"
    assert digests_of_groups([paths[:2]]) != digests_of_groups([paths[1::-1]]), "the order counts"


def test_a_file_changed_with_equal_size_and_time_is_read_again(files):
    paths, read = files
    content_digests(paths)
    times = os.stat(paths[0])
    while os.stat(paths[0]).st_ctime_ns == times.st_ctime_ns:  # the clock of a file system has coarse ticks
        Path(paths[0]).write_bytes(b"new")
        os.utime(paths[0], ns=(times.st_atime_ns, times.st_mtime_ns))
    assert content_digests(paths)[paths[0]] == sha(b"new")
    assert read[3:] == ["a"]


def test_a_name_that_is_no_utf_8_is_remembered(files, tmp_path):
    _, read = files
    path = os.fsdecode(os.fsencode(tmp_path) + b"/images/\xff.png")
    Path(path).write_bytes(b"odd")
    assert content_digests([path]) == content_digests([path]) == {path: sha(b"odd")}
    assert len(read) == 1


def test_a_file_that_may_change_within_the_same_time_stamp_is_not_remembered(files, monkeypatch):
    paths, read = files
    monkeypatch.setattr(digests, "SETTLED_NS", 10**18)
    content_digests(paths)
    content_digests(paths)
    assert sorted(read) == ["a", "a", "b", "b", "c", "c"]


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"a": 3}', b'{"a": {"x": 1}}', b"null", b"\xff"])
def test_a_damaged_file_of_digests_is_made_again(files, content):
    paths, _ = files
    right = content_digests(paths)
    for kept in Path(os.environ["BIOMED_DPT_CACHE"]).glob("digests/*.json"):
        kept.write_bytes(content)
    assert content_digests(paths) == right
    assert content_digests(paths) == right


def test_a_cache_that_cannot_be_written_costs_time_only(files, monkeypatch, tmp_path):
    paths, _ = files
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BIOMED_DPT_CACHE", str(tmp_path / "file"))
    assert content_digests(paths)[paths[1]] == sha(b"two")


def test_what_is_no_regular_file_is_refused_by_its_name(files, tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    for bad, reason in (
        (tmp_path / "pipe.png", "not a regular"),
        (tmp_path, "not a regular"),
        (tmp_path / "x", "No such"),
    ):
        with pytest.raises(InputError, match=f"'{bad}' cannot be read .*{reason}"):
            content_digests([str(bad)])
    with pytest.raises(InputError, match="null"):
        content_digests(["a\0b"])


def test_an_image_changed_with_equal_size_and_time_is_encoded_again(build, encoded, phantom_root):
    first = build("ZeroShot")
    first.evaluate()
    path, other = (Path(item.impath) for item in first.dm.dataset.test[:2])
    before, times = path.read_bytes(), path.stat()
    pixels = other.read_bytes()[: len(before)]
    try:
        path.write_bytes(pixels + bytes(len(before) - len(pixels)))  # as long as before: a PNG ends before its padding
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        build("ZeroShot").evaluate()
    finally:
        path.write_bytes(before)
    assert sum(encoded) == 2 * 96
    build("ZeroShot").evaluate()
    assert sum(encoded) == 2 * 96, "the features of the first content are still there"


def test_a_moved_data_set_keeps_its_features(build, encoded, phantom_root, tmp_path):
    build("ZeroShot").evaluate()
    shutil.copytree(phantom_root, tmp_path / "moved")
    build("ZeroShot", root=str(tmp_path / "moved")).evaluate()
    assert sum(encoded) == 96


def test_images_that_change_while_they_are_encoded_are_refused(build, encoded, monkeypatch):
    trainer = build("ZeroShot")
    counter = iter(range(1000))
    monkeypatch.setattr("trainers.features.file_status", lambda path: next(counter))
    with pytest.raises(InputError, match="image files changed while they were encoded"):
        trainer.evaluate()


def test_equal_images_of_other_names_have_their_own_views(build, phantom_root, tmp_path, monkeypatch):
    """The random streams of an image's augmentation are seeded with its name."""
    words = {"trainer": "CoOp", "opts": ["OPTIM.MAX_EPOCH", 1]}
    other = tmp_path / "other"
    shutil.copytree(phantom_root, other, ignore=shutil.ignore_patterns("*.json"))
    for path in sorted(other.rglob("*.png")):
        path.rename(path.with_name(f"a{path.name}"))
    monkeypatch.setenv("BIOMED_DPT_CACHE", str(tmp_path / "empty"))
    alone = build(root=str(other), **words).stream.epoch(0)
    monkeypatch.setenv("BIOMED_DPT_CACHE", str(tmp_path / "shared"))
    first = build(**words).stream.epoch(0)
    assert torch.equal(build(root=str(other), **words).stream.epoch(0), alone)
    assert not torch.equal(first, alone)
