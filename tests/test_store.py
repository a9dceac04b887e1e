"""The store of frozen features: what it keeps, what it shares, and what it must never use."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import trainers.store
from dassl.data import data_manager
from dassl.errors import InputError
from datasets.images import ImageReader
from trainers.store import Store, open_store

PROJECT = Path(__file__).resolve().parent.parent
KEY = {"weights": "abc", "files": "def"}


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "features", limit=10**6)


def counting(calls, value=1.0):
    def compute():
        calls.append(value)
        return {"features": torch.full((4, 8), value)}

    return compute


def entry(store):
    (path,) = store.folder.glob("*/*.safetensors")
    return path


def test_an_entry_is_computed_once_and_comes_back_bit_for_bit(store):
    made = torch.randn(5, 3)
    assert torch.equal(store.get("images", KEY, lambda: {"features": made})["features"], made)
    calls = []
    assert torch.equal(store.get("images", KEY, counting(calls))["features"], made)
    assert calls == []
    assert store.get("images", {**KEY, "files": "other"}, counting(calls, 2.0))["features"][0, 0] == 2
    assert store.get("text", KEY, counting(calls, 3.0))["features"][0, 0] == 3


def cut_short(path):
    path.write_bytes(path.read_bytes()[:-9])


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


def empty(path):
    path.write_bytes(b"")


def exchange(path):
    other = Store(path.parent.parent.parent / "other", limit=10**6)
    other.get("images", {"another": "key"}, counting([], 7.0))
    path.write_bytes(entry(other).read_bytes())


@pytest.mark.parametrize("damage", [cut_short, flip_a_bit, empty, exchange])
def test_a_damaged_entry_is_named_and_made_again(store, damage, capsys):
    store.get("images", KEY, counting([]))
    damage(entry(store))
    calls = []
    assert store.get("images", KEY, counting(calls))["features"].eq(1).all()
    assert calls == [1.0]
    assert "are damaged" in capsys.readouterr().out
    store.get("images", KEY, counting(calls))
    assert calls == [1.0]


def test_a_full_disk_costs_the_entry_not_the_run(store, monkeypatch, capsys):
    def full(self, content):
        with open(self, "wb") as file:
            file.write(content[: len(content) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    calls = []
    for _ in range(2):
        assert store.get("images", KEY, counting(calls))["features"].eq(1).all()
    assert calls == [1.0, 1.0]
    assert "No space left on device" in capsys.readouterr().out
    assert not list((store.folder / "images").iterdir())


def test_a_folder_that_cannot_be_made_costs_the_entry_not_the_run(tmp_path):
    (tmp_path / "features").write_text("a file stands where the folder should be")
    calls = []
    Store(tmp_path / "features", 10**6).get("images", KEY, counting(calls))
    assert calls == [1.0]


def test_the_entry_that_was_not_used_for_the_longest_time_goes_first(tmp_path):
    size = len(trainers.store.save({"features": torch.zeros(4, 8)}, {"key": "x" * 40, "checksum": "y" * 32}))
    store, calls = Store(tmp_path, limit=int(2.5 * size)), []
    for number, used in ((1, 300), (2, 100)):
        store.get("images", {"number": number}, counting(calls, float(number)))
        newest = max(tmp_path.glob("*/*.safetensors"), key=lambda path: path.stat().st_mtime_ns)
        os.utime(newest, (used, used))
    store.get("images", {"number": 3}, counting(calls, 3.0))
    assert sum(path.stat().st_size for path in tmp_path.glob("*/*.safetensors")) <= store.limit
    store.get("images", {"number": 1}, counting(calls, 1.0))
    assert calls == [1.0, 2.0, 3.0]
    store.get("images", {"number": 2}, counting(calls, 2.0))
    assert calls == [1.0, 2.0, 3.0, 2.0]


def test_the_size_comes_from_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("BIOMED_DPT_CACHE", str(tmp_path))
    monkeypatch.setenv("BIOMED_DPT_CACHE_GB", "0.5")
    assert open_store().limit == 500_000_000
    monkeypatch.setenv("BIOMED_DPT_CACHE_GB", "0")
    calls = []
    for _ in range(2):
        open_store().get("images", KEY, counting(calls))
    assert calls == [1.0, 1.0]
    assert not list(tmp_path.iterdir())
    monkeypatch.setenv("BIOMED_DPT_CACHE_GB", "much")
    with pytest.raises(InputError, match="BIOMED_DPT_CACHE_GB is 'much'"):
        open_store()


ASK = """
import sys, torch
from pathlib import Path
from trainers.store import Store

def compute():
    print("computing")
    sys.stdin.readline()
    return {"features": torch.ones(2)}
Store(Path(sys.argv[1]), 10**6).get("images", {"a": 1}, compute)
"""


@pytest.fixture
def ask(store):
    """Starts a process that asks for an entry; one that computes it says so and waits for a line."""
    started = []

    def _ask():
        words = [sys.executable, "-u", "-c", ASK, str(store.folder)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1}
        started.append(subprocess.Popen(words, cwd=PROJECT, **pipes))
        return started[-1]

    yield _ask
    for process in started:
        process.kill()
        process.communicate()


def test_two_processes_compute_an_entry_once(ask):
    first = ask()
    assert first.stdout.readline() == "computing\n"
    second = ask()
    assert "waiting for another run" in second.stdout.readline()
    first.stdin.write("go on\n")
    assert second.communicate()[0] == ""
    assert (first.wait(), second.returncode) == (0, 0)


def test_a_killed_process_leaves_its_lock_free(ask, store):
    process = ask()
    assert process.stdout.readline() == "computing\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert list((store.folder / "images").glob("*.lock"))
    calls = []
    assert store.get("images", {"a": 1}, counting(calls))["features"].eq(1).all()
    assert calls == [1.0]


EPOCHS = ["OPTIM.MAX_EPOCH", 2, "DATALOADER.TRAIN_X.BATCH_SIZE", 4]


def test_methods_and_seeds_share_what_was_encoded(build, encoded):
    build("ZeroShot").evaluate()
    assert sum(encoded) == 96
    build("CoOp", shots=1, opts=EPOCHS).train()
    assert sum(encoded) == 96 + 2 * 8
    build("CoOp", shots=1, opts=[*EPOCHS, "OPTIM.LR", 0.5]).train()
    assert sum(encoded) == 96 + 2 * 8
    build("CoOp", shots=1, seed=2, opts=EPOCHS).train()
    assert sum(encoded) == 96 + 4 * 8
    build("BiomedDPT", shots=1, opts=EPOCHS).train()  # zero visual tokens make it another tower
    assert sum(encoded) == 2 * 96 + 6 * 8


def test_a_run_encodes_only_the_images_that_others_did_not(build, encoded):
    one, other = (build("CoOp", shots=shots, opts=[*EPOCHS, "TEST.NO_TEST", True]) for shots in (1, 2))
    one.train()
    paths = [{item.impath for item in run.dm.dataset.train_x} for run in (one, other)]
    shared = len(paths[0] & paths[1])
    assert shared > 0
    first = one.stream.epoch(1)
    assert sum(encoded) == 2 * 8
    other.train()
    assert sum(encoded) == 2 * (8 + 16 - shared)
    for place, item in enumerate(one.dm.dataset.train_x):
        again = [k for k, found in enumerate(other.dm.dataset.train_x) if found.impath == item.impath]
        assert all(torch.equal(other.stream.epoch(1)[k], first[place]) for k in again)


def test_what_was_encoded_before_an_interrupt_is_kept(build, encoded, monkeypatch):
    trainer = build("CoOp", shots=1, opts=EPOCHS)
    load = trainer.train_loader_x.dataset.load

    def interrupted(index, epoch):
        if index == 3:
            raise KeyboardInterrupt
        return load(index, epoch)

    monkeypatch.setattr(trainer.train_loader_x.dataset, "load", interrupted)
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    assert sum(encoded) == 2 * 3
    build("CoOp", shots=1, opts=[*EPOCHS, "TEST.NO_TEST", True]).train()
    assert sum(encoded) == 2 * 8


def test_each_training_image_is_decoded_once_per_run(build, encoded, monkeypatch):
    opened, read = [], ImageReader.__call__
    monkeypatch.setattr(ImageReader, "__call__", lambda reader, path: opened.append(path) or read(reader, path))
    for mode in ("ahead", "online"):
        opened.clear()
        trainer = build("CoOp", shots=2, opts=[*EPOCHS, "OPTIM.MAX_EPOCH", 3, "FEATURES", mode, "TEST.NO_TEST", True])
        trainer.train()
        assert sorted(opened) == sorted(item.impath for item in trainer.dm.dataset.train_x)


def test_images_beyond_the_memory_limit_are_decoded_at_each_use(build, encoded, monkeypatch):
    whole = build("CoOp", shots=1, opts=EPOCHS).train_loader_x.dataset
    part = build("CoOp", shots=1, opts=EPOCHS).train_loader_x.dataset
    image = part.read_image(part.data_source[0].impath)
    monkeypatch.setattr(data_manager, "DECODED_BYTES", 2.5 * 3 * image.width * image.height)
    part.decode_all()
    assert list(part._decoded) == [0, 1]
    assert all(torch.equal(part.load(k, 1)["img"], whole.load(k, 1)["img"]) for k in range(8))


def test_reused_views_go_round(build, encoded):
    opts = [*EPOCHS, "OPTIM.MAX_EPOCH", 4, "DATALOADER.REUSED_VIEWS", 2, "TEST.NO_TEST", True]
    trainer = build("CoOp", shots=1, opts=opts)
    features = [trainer.stream.epoch(epoch).clone() for epoch in range(4)]
    assert sum(encoded) == 2 * 8
    assert torch.equal(features[0], features[2])
    assert torch.equal(features[1], features[3])
    assert not torch.equal(features[0], features[1])
    online = trainer.train_loader_x.dataset
    assert torch.equal(online.load(3, 3)["img"], online.load(3, 1)["img"])
