"""Models, backbone folders and output places that cannot be used: one short error that names the file."""

import errno
import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import clip
from clip import build_backbone
from dassl.errors import InputError, OutputError
from dassl.utils import atomic_path, open_log
from dassl.utils.tensors import digest_of
from runs import lock
from runs.lock import RunLock, has_locks
from trainers import checkpoint

TINY = Path(clip.__file__).parent / "tiny"
CONTEXT = (4, 128)


def refused(error, path):
    assert str(path) in str(error.value)
    assert len(str(error.value).splitlines()) < 15
    assert len(str(error.value)) < 900


@pytest.fixture
def model(build):
    trainer = build("CoOp", opts=["TRAINER.COOP.N_CTX", CONTEXT[0]])
    trainer.save_model(0, trainer.output_dir)
    return trainer, Path(trainer.output_dir) / checkpoint.FILE


WEIGHTS = {
    "nan": torch.full(CONTEXT, torch.nan),
    "inf": torch.full(CONTEXT, torch.inf),
    "complex": torch.zeros(CONTEXT, dtype=torch.cfloat),
    "integers": torch.zeros(CONTEXT, dtype=torch.long),
    "sparse": torch.zeros(CONTEXT).to_sparse(),
    "quantised": torch.quantize_per_tensor(torch.zeros(CONTEXT), 0.1, 0, torch.qint8),
    "another shape": torch.zeros(3, 128),
    "scalar": torch.tensor(1.0),
    "huge": torch.zeros(1).expand(10**13),
    "text": "weights",
    "list": [0.0] * 512,
    "none": None,
}
CONTENTS = {name: {"state_dict": {"context.ctx": value}} for name, value in WEIGHTS.items()}
CONTENTS |= {f"nothing else, {key}": {"state_dict": value} for key, value in {"list": [1], "number": 7}.items()}
CONTENTS |= {
    "a list": [1, 2],
    "a tensor": torch.zeros(3),
    "names as numbers": {"state_dict": {7: torch.zeros(2)}},
    "many weights": {"state_dict": {f"layer{k}.weight": torch.zeros(2) for k in range(500)}},
    "about as text": {"about": "me", "state_dict": {"context.ctx": torch.zeros(CONTEXT)}},
    "settings as list": {"about": {"settings": [1]}, "state_dict": {"context.ctx": torch.zeros(CONTEXT)}},
    "settings without JSON": {"about": {"settings": "{"}, "state_dict": {"context.ctx": torch.zeros(CONTEXT)}},
    "another digest": {"digest": "0", "state_dict": {"context.ctx": torch.zeros(CONTEXT)}},
}


@pytest.mark.parametrize("name", CONTENTS)
def test_models_that_cannot_be_used_are_refused(model, name):
    trainer, path = model
    torch.save(CONTENTS[name], path)
    before = {key: value.clone() for key, value in trainer.method.state_dict().items()}
    with pytest.raises(InputError) as error:
        trainer.load_model(trainer.output_dir)
    refused(error, path)
    assert all(torch.equal(value, before[key]) for key, value in trainer.method.state_dict().items())


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x80\x05.", b"<html>", b"\x80\x02]q\x00(K\x01e."])
def test_model_files_of_other_kinds_are_refused(model, command, content):
    _, path = model
    path.write_bytes(content)
    for words in (["--eval-only", "--model-dir", path.parent], ["MODEL.INIT_WEIGHTS", path]):
        code, printed = command("--trainer", "CoOp", "--shots", 1, *words, out=f"run{len(words)}")
        assert code == 2
        assert str(path) in printed.err
        assert len(printed.err.splitlines()) < 15


def test_digests_tell_contents_apart():
    contents = [{"a": torch.zeros(2)}, {"a": torch.zeros(2, 1)}, {"a": torch.zeros(2).double()}, {"b": torch.zeros(2)}]
    contents += [
        {"a": [0, 0]},
        {"a": (0, 0)},
        {"a": "0"},
        {"a": 0},
        {"a": None},
        {"a": False},
        {"a": torch.tensor(0.0)},
    ]
    assert len({digest_of(content) for content in contents}) == len(contents)
    assert digest_of(contents[0]) == digest_of({"a": torch.zeros(2)})


@pytest.fixture
def backbone(tmp_path):
    """A copy of Tiny's folder: backbone(file, key, value) changes an entry of a JSON file, "" the whole of it."""
    folder = Path(shutil.copytree(TINY, tmp_path / "tiny"))

    def change(name, key, value):
        content = json.loads((folder / name).read_text())
        *parts, last = key.split(".")
        node = content
        for part in parts:
            node = node[part]
        if key:
            node[last] = value
        (folder / name).write_text(json.dumps(content if key else value))
        return folder

    return change


CONFIG = "open_clip_config.json"


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        *((CONFIG, "", value) for value in ([], None, "model", 7)),
        *((CONFIG, "model_cfg", value) for value in ([], None)),
        *((CONFIG, "model_cfg.vision_cfg", value) for value in (3, {}, {"layers": 10**9, "width": 64})),
        *((CONFIG, "model_cfg.text_cfg.context_length", value) for value in (0, -1, "77", 77.5, True, 4096, 10**12)),
        *((CONFIG, "model_cfg.embed_dim", value) for value in ("128", None, 0, 64)),
        (CONFIG, "model_cfg.text_cfg.unknown", 1),
        *((CONFIG, "preprocess_cfg.mean", value) for value in (0.5, [0.5], "grey", [0.5, 0.5, None], [1e999, 0, 0])),
        *((CONFIG, "preprocess_cfg.std", value) for value in (0.5, [1, 1, 0], [1, 1, -1])),
        ("config.json", "", [1]),
        ("config.json", "num_hidden_layers", 10**9),
        ("config.json", "hidden_size", "wide"),
        ("tokenizer.json", "", []),
        ("tokenizer.json", "model", {}),
    ],
)
def test_descriptions_of_backbones_that_cannot_be_used_are_refused(backbone, name, key, value):
    folder = backbone(name, key, value)
    with pytest.raises(InputError) as error:
        build_backbone("Tiny", str(folder))
    refused(error, folder)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000])
@pytest.mark.parametrize("name", [CONFIG, "tokenizer.json", "config.json"])
def test_files_that_are_no_json_are_refused(tmp_path, name, content):
    folder = Path(shutil.copytree(TINY, tmp_path / "tiny"))
    (folder / name).write_bytes(content)
    with pytest.raises(InputError) as error:
        build_backbone("Tiny", str(folder))
    refused(error, folder / name)


@pytest.mark.parametrize("name", ["nan", "integers", "complex", "another shape", "missing"])
def test_weights_of_backbones_that_cannot_be_used_are_refused(tmp_path, name):
    folder = Path(shutil.copytree(TINY, tmp_path / "tiny"))
    path = folder / "open_clip_model.safetensors"
    weights = load_file(path)
    key = next(key for key in weights if key.endswith("norm.weight"))
    value = weights.pop(key)
    changed = {
        "nan": value * torch.nan,
        "integers": value.long(),
        "complex": value.cfloat(),
        "another shape": value[:3],
    }
    save_file(weights | ({key: changed[name]} if name in changed else {}), path)
    with pytest.raises(InputError) as error:
        build_backbone("Tiny", str(folder))
    refused(error, path)


def test_places_that_cannot_be_written_are_named_before_work_starts(command, tmp_path):
    (tmp_path / "file").write_text("mine")
    for place in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/x"), Path("/proc/x/y")):
        code, printed = command("--trainer", "ZeroShot", "--output-dir", place, out=None)
        assert code == 2
        assert f"'{place}' cannot be written" in printed.err
    assert (tmp_path / "file").read_text() == "mine"


def test_a_lock_that_cannot_be_made_is_an_error_after_a_bounded_wait(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "_SECONDS_BETWEEN_LOOKS", 0)
    monkeypatch.setattr(lock, "lock_path", lambda folder: Path("/proc/.run.lock"))
    for wait in (True, False):
        with pytest.raises(OutputError, match="its lock file cannot be made"):
            RunLock(tmp_path / "run", wait)
    assert has_locks(Path("/proc/x"))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT])
def test_a_full_or_read_only_disk(model, monkeypatch, number):
    trainer, path = model
    before = path.read_bytes()

    def full(self, content):
        raise OSError(number, "no room")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match=f"'{path}' cannot be written .no room.; make room or name another place"):
        trainer.save_model(1, trainer.output_dir)
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_other_errors_inside_a_writing_context_stay_what_they_are(tmp_path):
    def fail():
        with atomic_path(tmp_path / "file"):
            raise ConnectionError("the network")

    with pytest.raises(ConnectionError):
        fail()


def test_a_log_on_a_full_disk(tmp_path):
    log = open_log(str(tmp_path))
    log.file.close()
    log.file = open("/dev/full", "w")  # noqa: SIM115
    log.write("x")
    with pytest.raises(OutputError, match="'/dev/full' cannot be written"):
        log.flush()
    log.file = None
