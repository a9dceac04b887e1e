"""The files of a bundle: what was written is read back; what was changed, damaged or forged is refused."""

import errno
import json
import os
import resource

import pytest
import torch

from dassl.errors import InputError, OutputError
from runs.folder import clear_folder
from tests.bundles import CLASSES, entry, forge, random_bundle, tensor
from trainers.bundle import FILES, TEXT, Bundle, classes_of, find_bundle, read_bundle, write_bundle

LARGE = 8192  # bytes of a tensor, more than the limit of the test with a full disk


@pytest.fixture(scope="module")
def bundle(tiny):
    return random_bundle("CoOp", tiny)


@pytest.fixture
def folder(bundle, tmp_path):
    write_bundle(tmp_path / "run" / "bundle", bundle, "card")
    return tmp_path / "run" / "bundle"


def refused(path, message):
    with pytest.raises(InputError, match=message) as error:
        read_bundle(path)
    assert len(str(error.value)) < 900
    return str(error.value)


def test_what_was_written_is_read(bundle, folder):
    found = read_bundle(folder)
    assert sorted(os.listdir(folder)) == sorted(FILES)
    assert (folder / "README.md").read_text() == "card"
    assert found.about == bundle.about
    assert found.tensors.keys() == bundle.tensors.keys()
    assert all(torch.equal(value, bundle.tensors[name]) for name, value in found.tensors.items())
    assert (found.method, found.backbone, found.classnames, found.temperature) == ("CoOp", "Tiny", CLASSES, 1.5)
    assert found.learned.keys() == {"context.ctx"}
    assert torch.equal(found.text_features, bundle.tensors[TEXT])


def test_the_folder_of_the_run_that_of_the_bundle_and_a_moved_one_are_read(folder, tmp_path, bundle):
    assert find_bundle(folder.parent) == find_bundle(folder) == folder
    moved = folder.rename(tmp_path / "a name with ü and spaces")
    assert read_bundle(moved).about == bundle.about
    (tmp_path / "link").symlink_to(moved)
    assert read_bundle(str(tmp_path / "link")).about == bundle.about


def test_files_may_be_symbolic_links_as_in_the_cache_of_the_hub(folder, tmp_path, bundle):
    (tmp_path / "linked").mkdir()
    for name in FILES:
        (tmp_path / "linked" / name).symlink_to(folder / name)
    found = read_bundle(tmp_path / "linked")
    before = (folder / "bundle.json").read_bytes()
    write_bundle(tmp_path / "linked", Bundle({**found.about, "note": 1}, found.tensors), "other card")
    assert (folder / "bundle.json").read_bytes() == before
    assert read_bundle(tmp_path / "linked").about["note"] == 1


def test_where_there_is_no_bundle(tmp_path):
    refused(tmp_path / "nowhere", "is no folder; name a run's folder, or the folder of a bundle")
    refused(tmp_path / ("x" * 300), "is no folder")
    assert "complete" not in refused(tmp_path, "no bundle in .* neither bundle.json nor bundle/bundle.json is there")
    (tmp_path / "config.yaml").touch()
    refused(tmp_path, "a run leaves a bundle when it is complete")
    (tmp_path / "file").touch()
    refused(tmp_path / "file", "is no folder")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read"),
        (b"[1, 2]", r"the file: \[1, 2\] is no dict"),
        (b'{"format": 1', "cannot be read"),
        (b'{"format": "\xff"}', "cannot be read"),
        (b"[" * 100_000, "cannot be read"),
        (b'{"format": ' + b"9" * 5000 + b"}", "cannot be read"),
        (b"{}", "it has format None, this program reads format 1; use another version"),
    ],
)
def test_other_content_of_the_json_file_is_refused(folder, content, message):
    (folder / "bundle.json").write_bytes(content)
    assert str(folder) in refused(folder, message)


def test_a_json_file_that_is_too_large_or_too_deep_is_refused(folder):
    about = json.loads((folder / "bundle.json").read_text())
    for depth in (400, 900, 980):  # the encoder may give up where the decoder did not
        nested = json.dumps(about)[:-1] + ', "deep": ' + "[" * depth + "]" * depth + "}"
        (folder / "bundle.json").write_text(nested)
        refused(folder, "digest is wrong|cannot be read")
    with (folder / "bundle.json").open("r+b") as file:
        file.truncate(2**40)
    refused(folder, "it has more than 104,857,600 bytes")


def test_a_changed_json_file_is_refused(folder):
    text = (folder / "bundle.json").read_text()
    (folder / "bundle.json").write_text(text.replace('"temperature": 1.5', '"temperature": 1.6'))
    refused(folder, "was changed or damaged: its digest is wrong; make or fetch it again")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("format", 2, "it has format 2, this program reads format 1"),
        ("settings_version", 99, "its settings have version 99, this program reads versions up to 2"),
        ("classes", [], "classes: .* is no list of different names"),
        ("classes", ["a", "b", "a"], "classes: .* is no list of different names"),
        ("classes", ["a", "b", " "], "the class name ' ' is empty"),
        ("classes", ["a", "b", "\ud800"], "is no text in UTF-8"),
        ("classes", ["a", "b", 3], "classes: 3 is no str"),
        ("classes", "abc", "classes: 'abc' is no list"),
        ("classes", ["a", "b"], "text features of shape .3, 128. and type torch.float32 for 2 classes"),
        ("template", 7, "template: 7 is no str"),
        ("backbone.digest", None, "backbone: digest: None is no str"),
        ("backbone.text_padding", "none", "unknown text_padding 'none'"),
        ("precision.features", "fp8", "unknown precision of features 'fp8'"),
        ("preprocessing.SIZE", [0, 160], "SIZE"),
        ("preprocessing.PIXEL_STD", [0.0, 1.0, 1.0], "PIXEL_STD"),
        ("preprocessing.NO_TRANSFORM", True, r"the keys \['NO_TRANSFORM'\] are missing or unknown"),
        ("preprocessing", {}, "are missing or unknown"),
        ("calibration.temperature", 0, "the temperature is 0"),
        ("calibration.temperature", float("nan"), "the temperature is nan"),
        ("calibration.temperature", True, "the temperature is True"),
        ("provenance", [], r"provenance: \[\] is no dict"),
    ],
)
def test_a_forged_json_file_is_refused(bundle, tmp_path, key, value, message):
    refused(forge(bundle, tmp_path / "forged", entry(key, value)), message)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (TEXT, torch.full((3, 128), torch.nan), "holds numbers that are not finite"),
        (TEXT, torch.zeros(3, 128).to(torch.float8_e4m3fn), "8 bits or fewer"),
        (TEXT, torch.zeros(3, 128, dtype=torch.cfloat), "complex"),
        (TEXT, torch.zeros(3, 128, dtype=torch.long), "type torch.int64 for 3 classes"),
        (TEXT, torch.zeros(384), "text features of shape .384,."),
        ("extra", torch.zeros(1), "'extra' is no name of a tensor in a bundle"),
        ("method.context.ctx", torch.zeros(4, 0), "holds no numbers"),
    ],
)
def test_forged_tensors_are_refused(bundle, tmp_path, name, value, message):
    refused(forge(bundle, tmp_path / "forged", tensor(name, value)), message)


def test_damaged_tensors_are_refused(folder):
    path = folder / "model.safetensors"
    content = path.read_bytes()
    for damaged in (
        content[:-1] + bytes([content[-1] ^ 1]),
        content[:-7],
        content[:20],
        b"",
        (2**62).to_bytes(8, "little") + content[8:],
        (10**9).to_bytes(8, "little") + content[8:],
        content.replace(b'"F32"', b'"F99"', 1),
        content.replace(b'"F32"', b'"I32"', 1),
    ):
        path.write_bytes(damaged)
        assert str(folder) in refused(folder, "cannot be read|digest is wrong|type torch.int32")
    path.unlink()
    refused(folder, "model.safetensors' is missing")
    os.mkfifo(path)
    refused(folder, "model.safetensors' is missing")


def test_a_folder_with_other_files_is_refused_and_left_alone(bundle, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"holds \['notes.txt'\] and no bundle; name a new folder"):
        write_bundle(tmp_path, bundle, "card")
    with pytest.raises(InputError, match="is a file; name a folder for the bundle"):
        write_bundle(tmp_path / "notes.txt", bundle, "card")
    with pytest.raises(OutputError, match="cannot be written"):
        write_bundle(tmp_path / "notes.txt" / "bundle", bundle, "card")
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_full_disk_leaves_no_bundle_and_keeps_an_earlier_one(bundle, folder, tmp_path):
    larger = Bundle(bundle.about, {**bundle.tensors, "method.more": torch.zeros(LARGE)})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (LARGE, hard))
        for place in (folder, tmp_path / "other"):
            with pytest.raises(OutputError, match="cannot be written"):
                write_bundle(place, larger, "card")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert read_bundle(folder).about == bundle.about
    assert sorted(os.listdir(folder)) == sorted(FILES)
    assert os.listdir(tmp_path / "other") == []


@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_fault_between_the_files_leaves_no_bundle(bundle, folder, monkeypatch, count):
    replace, replaced = os.replace, []

    def replace_some(source, target):
        if len(replaced) == count:
            raise OSError(errno.EROFS, "Read-only file system", str(target))
        replaced.append(target)
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", replace_some)
        with pytest.raises(OutputError, match="Read-only file system"):
            write_bundle(folder, bundle, "card")
    assert not [name for name in os.listdir(folder) if name[0] == "."]
    refused(folder, "no bundle in")
    write_bundle(folder, bundle, "card")
    assert read_bundle(folder).about == bundle.about


def test_overwrite_removes_the_files_of_the_bundle_only(folder):
    run = folder.parent
    (run / "config.yaml").write_text("TRAINER:\n  NAME: CoOp\nDATASET:\n  NAME: Phantom\n")
    (folder / "notes.txt").write_text("mine")
    (folder / ".bundle.json.ab12cd_9").touch()
    clear_folder(run)
    assert os.listdir(run) == ["bundle"]
    assert os.listdir(folder) == ["notes.txt"]


def test_class_names_of_a_caller_are_checked():
    assert classes_of([" a ", "b"]) == ["a", "b"]
    for names, message in (([], "at least one"), (["a", " "], "an empty one"), (["a", "a "], "more than once")):
        with pytest.raises(InputError, match=message):
            classes_of(names)
