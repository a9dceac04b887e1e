"""What happens to sweeps, on real processes: afterwards the numbers are those of an undisturbed sweep."""

import json
import os
import random
import signal
import subprocess
import sys

import pytest
from PIL import Image

from runs.folder import MARKER
from sweep.__main__ import main
from sweep.launchers import worker
from tests import faults

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks at processes through /proc")
# Runs trained side by side give the numbers of separate ones within rounding only; these are to be equal.
ALONE = ["--stack", "1", "--slots", "1"]
# Most of a run's time goes into the encoding of the views of each epoch: few epochs, of several steps.
TRAINING = ["OPTIM.MAX_EPOCH", "5", "DATALOADER.TRAIN_X.BATCH_SIZE", "2"]
FAST = [*TRAINING, "TRAINER.TIPADAPTER.SEARCH_STEPS", "5"]


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


@pytest.fixture
def words(few_images):
    return ["--root", str(few_images), "--methods", "TipAdapter,CoOp", "--shots", "1", "--seeds", "1,2", *ALONE]


@pytest.fixture(scope="module")
def many(few_images):
    """A sweep of 25 runs; those of all other sweeps here are among them."""
    words = ["run", "--root", str(few_images), "--methods", "ZeroShot,TipAdapter,CoOp", "--shots", "1,2", *ALONE]
    return [*words, "--seeds", "1,2,3,4,5,6", *FAST, "--output"]


@pytest.fixture(scope="module")
def whole(many, one_thread, tmp_path_factory):
    """The output of that sweep, which nothing disturbed."""
    output = tmp_path_factory.mktemp("undisturbed")
    assert main([*many, str(output)]) == 0
    assert len(faults.numbers(output)) == 25
    return output


def assert_undisturbed(output, whole, runs):
    """So many runs are complete, and have the numbers of an undisturbed sweep."""
    found, expected = faults.numbers(output), faults.numbers(whole)
    assert len(found) == runs
    assert found == {name: expected[name] for name in found}
    assert not faults.left_behind(output)


@pytest.fixture
def given_faults(tmp_path, monkeypatch):
    """Gives faults to the runs of the workers of this process: given_faults({"CoOp-2": "kill"})."""
    folder = tmp_path / "faults"
    folder.mkdir()
    monkeypatch.setenv(faults.FOLDER, str(folder))
    monkeypatch.setattr("sweep.launchers.local.serve", faults.serve)

    def _given(which):
        for path in folder.iterdir():
            path.unlink()
        for name, fault in which.items():
            (folder / name).write_text(fault)

    return _given


@pytest.mark.parametrize(
    ("fault", "message"),
    [("kill", "its process died (SIGKILL, out of memory?)"), ("memory", "MemoryError: ")],
)
def test_a_run_that_exhausts_memory_fails_alone(words, whole, given_faults, tmp_path, capsys, fault, message):
    given_faults({"CoOp-2": fault})
    output = tmp_path / "faulty"
    assert main(["run", *words, "--output", str(output), *FAST]) == 1
    printed = capsys.readouterr()
    assert f"trying again: CoOp on phantom (Tiny, few_shot, 1 shots, seed 2): {message}" in printed.out
    assert f"failed: CoOp on phantom (Tiny, few_shot, 1 shots, seed 2)\n  {message}" in printed.out
    assert "1 runs failed; the same command runs them again" in printed.err
    assert len(faults.numbers(output)) == 3
    given_faults({})
    assert main(["run", *words, "--output", str(output), *FAST]) == 0
    assert "4 runs, 3 complete already, 1 to do" in capsys.readouterr().out
    assert_undisturbed(output, whole, 4)


def test_a_full_disk(words, whole, tmp_path, capsys):
    words += ["--seeds", "1"]
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("a small file system cannot be mounted here (no root)")
    try:
        filler = disk / "filler"
        filler.write_bytes(bytes(os.statvfs(disk).f_bavail * os.statvfs(disk).f_bsize))
        assert main(["run", *words, "--output", str(disk / "out"), *FAST]) == 1
        printed = capsys.readouterr()
        assert "No space left on device" in printed.out
        assert "2 runs failed" in printed.err
        assert not faults.numbers(disk / "out")
        filler.unlink()
        assert main(["run", *words, "--output", str(disk / "out"), *FAST]) == 0
        assert_undisturbed(disk / "out", whole, 2)
        assert not faults.left_behind(disk)
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_an_unreadable_data_set_fails_alone(few_images, whole, tmp_path, capsys):
    root = tmp_path / "data"
    (root / "BUSI").mkdir(parents=True)
    (root / "Phantom").symlink_to(few_images / "Phantom")
    from datasets.busi import BUSI

    for name in BUSI.classes:
        folder = root / "BUSI" / "BUSI" / name.replace(" ", "_")
        folder.mkdir(parents=True)
        for k in range(8):
            Image.effect_noise((40, 40), 10 + 10 * k).save(folder / f"{k}.png")
    victim = next((root / "BUSI").rglob("*.png"))
    content = victim.read_bytes()
    words = ["run", "--root", str(root), "--methods", "CoOp", "--shots", "1", "--seeds", "1,2", *ALONE, *TRAINING]
    words += ["--output", str(tmp_path / "faulty"), "--datasets"]
    victim.write_bytes(content[:100])
    assert main([*words, "busi,phantom"]) == 1
    printed = capsys.readouterr()
    assert f"unreadable images: '{victim}'" in printed.out
    assert "2 runs failed" in printed.err
    assert all("phantom" in name for name in faults.numbers(tmp_path / "faulty"))
    assert len(faults.numbers(tmp_path / "faulty")) == 2
    victim.write_bytes(content)
    assert main([*words, "busi,phantom"]) == 0
    found = faults.numbers(tmp_path / "faulty")
    assert len(found) == 4
    assert main([*words, "busi", "--output", str(tmp_path / "readable")]) == 0
    expected = faults.numbers(whole) | faults.numbers(tmp_path / "readable")
    assert found == {name: expected[name] for name in found}


@pytest.mark.parametrize(("signal_number", "code"), [(signal.SIGTERM, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_workers_end_with_their_sweep(words, whole, tmp_path, signal_number, code):
    output = tmp_path / "stopped"
    command = [*words, "--slots", "2", "--output", output, *FAST]
    process = faults.fork(*command, said=tmp_path / "said.txt", serve=worker.serve, server=True)
    wait_for_a_run = faults.wait_for(lambda: list(output.rglob("log.txt")) and faults.workers(process.pid))
    server = [child for child in faults.children(process.pid) if faults.children(child)]
    assert server
    os.kill(process.pid, signal_number)
    process.join(600)
    assert process.exitcode == code
    faults.wait_for(lambda: not any(map(faults.alive, [*wait_for_a_run, *server])))
    assert main(["run", *map(str, command)]) == 0
    assert_undisturbed(output, whole, 4)


@pytest.mark.slow
def test_two_sweeps_at_once_do_every_run_once(words, whole, tmp_path):
    output = tmp_path / "shared"
    words = [*words, "--seeds", "1,2,3,4,5", "--output", output, *FAST]
    said = [tmp_path / "first.txt", tmp_path / "second.txt"]
    for sweep, path in [(faults.fork(*words, said=path, serve=worker.serve), path) for path in said]:
        sweep.join(600)
        assert sweep.exitcode == 0, path.read_text()
    runs = list(output.rglob(MARKER))
    # A run that is done again keeps its older log under another name.
    assert len(runs) == len(list(output.rglob("log.txt*"))) == 10
    assert_undisturbed(output, whole, 10)


@pytest.mark.slow
def test_fourteen_killed_workers_and_two_killed_sweeps(many, whole, tmp_path, monkeypatch):
    """Deaths after given numbers of training steps and finished files, most of them in the middle of training."""
    output, folder, chance = tmp_path / "killed", tmp_path / "deaths", random.Random(3)
    deaths = [["sweep" if k in (5, 11) else "worker", chance.randint(4, 40)] for k in range(16)]
    folder.mkdir()
    (folder / "todo").write_text("\n".join(map(json.dumps, deaths)))
    monkeypatch.setenv(faults.DEATHS, str(folder / "todo"))
    codes = []
    while codes[-1:] != [0]:
        process = faults.fork(*many[1:], output, said=folder / "said.txt")
        process.join()
        codes.append(process.exitcode)
        said = (folder / "said.txt").read_text()
        assert codes[-1] in (0, 1, -signal.SIGKILL), said
        assert "Traceback" not in said
        assert len(codes) <= len(deaths)
    met = [json.loads(line) for line in (folder / "deaths.jsonl").read_text().splitlines()]
    assert [victim for victim, _, _ in met] == [victim for victim, _ in deaths]
    in_training = [complete for _, event, complete in met if event in ("step", "checkpoint.pth")]
    assert len(in_training) >= 12
    assert sum(complete > 0 for _, _, complete in met) >= len(met) * 3 // 4
    assert sum(complete > 0 for complete in in_training) >= len(met) // 2
    assert_undisturbed(output, whole, 25)
    assert faults.tables(output) == faults.tables(whole)
