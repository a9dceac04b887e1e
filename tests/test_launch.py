"""What a sweep checks and estimates before it starts, the lock of a run, and the outcomes of an attempt."""

import errno
import fcntl
import re
import threading

import pytest

import train
from configs import admitted_methods
from dassl.config import dump_cfg
from runs.arguments import configuration, parse_args
from runs.execute import carry_out
from runs.folder import MARKER, is_complete
from runs.lock import LockedError, RunLock, has_locks, is_locked, lock_path
from runs.results import write_results
from sweep.__main__ import main
from sweep.estimate import Sample
from sweep.launchers.attempt import DONE, FAILED, LOCKED, REFUSED, Outcome, attempt
from sweep.options import Options
from sweep.plan import make_plan, run_for
from tests.registered import METHODS

FAST = ["OPTIM.MAX_EPOCH", "1"]


def write_finished(output, run, seconds=10.0, epochs=10, stack=1):
    run.folder(output).mkdir(parents=True, exist_ok=True)
    results = {**run.as_dict(), "metrics": {"all": {"accuracy": 50.0}}, "loss_per_epoch": [1.0] * epochs}
    results["seconds"] = {"build": 2.0, "train_and_test": seconds, "runs_in_stack": stack}
    write_results(run.folder(output), results)


def test_all_methods_are_those_that_backbone_protocol_and_settings_admit():
    assert admitted_methods("few_shot", "Tiny", []) == METHODS
    without_new_classes = {"LPpp", "LinearProbe", "TipAdapter", "TipAdapterF"}
    assert set(admitted_methods("base2new", "Tiny", [])) == set(METHODS) - without_new_classes
    on_convolutions = admitted_methods("few_shot", "PMC-CLIP", [])
    assert set(METHODS) - set(on_convolutions) == {"VPT", "VPTDeep", "DPT", "MaPLe", "PromptSRC", "CLIPLoRA"}
    assert "CLIPLoRA" in admitted_methods("few_shot", "PMC-CLIP", ["TRAINER.CLIPLORA.ENCODER", "text"])


def test_all_means_every_method_and_data_set_of_the_paper(phantom_root, tmp_path, capsys):
    words = ["run", "--dry-run", "--root", str(phantom_root), "--output", str(tmp_path), "--protocol", "base2new"]
    assert main([*words, "--datasets", "all", "--methods", "all", "--backbone", "BiomedCLIP"]) == 0
    printed = capsys.readouterr().out
    # 15 methods, two of which have one run per data set, on 11 data sets with 3 seeds
    assert f"{(13 * 3 + 2) * 11} runs, 0 complete already" in printed
    assert len(re.findall(r"^\| BiomedDPT ", printed, flags=re.M)) == 11
    assert "no finished run to estimate from: BiomedCoOp, BiomedDPT" in printed
    assert not list(tmp_path.iterdir())


def test_one_sweep_has_both_protocols(phantom_root, tmp_path, capsys):
    words = ["--root", str(phantom_root), "--output", str(tmp_path), "--methods", "all", "--shots", "1,4"]
    assert main(["run", "--dry-run", *words, "--protocol", "few_shot,base2new"]) == 0
    printed = capsys.readouterr().out
    few_shot, base2new = 17 * 2 * 3 + 2, 13 * 3 + 2  # 19 methods, 15 of which admit new classes; 2 learn nothing
    assert f"{few_shot + base2new} runs, 0 complete already" in printed
    of_method = [line.split("|")[1:7] for line in printed.splitlines() if line.startswith("| BiomedDPT ")]
    assert [[word.strip() for word in line] for line in of_method] == [
        ["BiomedDPT", "phantom", "base2new", "3", "0", "3"],
        ["BiomedDPT", "phantom", "few_shot", "6", "0", "6"],
    ]
    assert "K 4; seeds 1 2 3" in printed
    assert main(["table", *words, "--protocol", "few_shot,base2new"]) == 0
    assert (tmp_path / "few_shot" / "table.md").is_file()
    assert (tmp_path / "base2new" / "table.md").is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--protocol", "few_shot,base3new"], "unknown protocol 'base3new'. Did you mean 'base2new'?"),
        (["--methods", "VPT", "--backbone", "PMC-CLIP"], "the image tower of this backbone is a convolutional network"),
        (["--methods", "TipAdapter", "--protocol", "base2new"], "cannot be tested under the protocol base2new"),
        (["OPTIM.LRR", "1"], "unknown configuration key 'OPTIM.LRR'"),
        (["OPTIM.LR"], "come as KEY VALUE pairs"),
        (["SEED", "4"], "SEED is the same for all runs of a sweep; use --seeds"),
        (["--datasets", "busi", "--root", "nowhere"], "data root 'nowhere' does not exist"),
        (["--shots", "0"], "at least 1 image per class"),
        (["--launcher", "slurm", "--slurm", "fast"], "--slurm fast: give KEY=VALUE"),
        (["--launcher", "ray"], "no Ray cluster at --address auto"),
        (["--launcher", "ray", "--address", "127.0.0.1:1"], "no Ray cluster at --address 127.0.0.1:1 ([Errno "),
    ],
)
def test_bad_input_is_named_before_anything_starts(tmp_path, capsys, words, message):
    if words[:1] == ["--launcher"]:
        pytest.importorskip({"slurm": "submitit", "ray": "ray"}[words[1]])
    assert main(["run", "--output", str(tmp_path / "out"), "--methods", "CoOp", *words]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("launcher", "package"), [("ray", "ray"), ("slurm", "submitit")])
def test_a_launcher_whose_package_is_missing_says_what_to_install(tmp_path, capsys, monkeypatch, launcher, package):
    monkeypatch.setitem(__import__("sys").modules, package, None)
    monkeypatch.delitem(__import__("sys").modules, f"sweep.launchers.{launcher}", raising=False)
    assert main(["run", "--launcher", launcher, "--methods", "ZeroShot", "--output", str(tmp_path)]) == 2
    assert f"pip install -r requirements-{launcher}.txt" in capsys.readouterr().err


def test_dry_run_estimates_from_finished_runs(phantom_root, tmp_path, capsys):
    done = run_for("few_shot", "phantom", "Tiny", "CoOp", 2, 1)
    write_finished(tmp_path, done, seconds=30.0, stack=3)
    command = Options(tmp_path, str(phantom_root), opts=("OPTIM.MAX_EPOCH", "10")).command(done)
    (done.folder(tmp_path) / "config.yaml").write_text(dump_cfg(configuration(parse_args(command))[0]))
    write_finished(tmp_path, run_for("few_shot", "busi", "Tiny", "ZeroShot", 1, 1), seconds=5.0, epochs=0)
    words = ["run", "--dry-run", "--root", str(phantom_root), "--output", str(tmp_path), "OPTIM.MAX_EPOCH", "10"]
    assert main([*words, "--methods", "ZeroShot,CoOp,BiomedDPT", "--shots", "2,4", "--seeds", "1,2"]) == 0
    lines = [line.split("|") for line in capsys.readouterr().out.splitlines() if line.count("|") == 9]
    rows = {cells[1].strip(): [cell.strip() for cell in cells[2:-1]] for cells in lines}
    # CoOp: 2 s to build; 30 s of a stack of three runs with 2 shots, twice that with 4
    assert rows["CoOp"] == ["phantom", "few_shot", "4", "1", "3", "K 2 4; seeds 1 2", "0:00:56"]
    assert rows["ZeroShot"] == ["phantom", "few_shot", "1", "0", "1", "K 0; seeds 1", "0:00:07"]
    assert rows["BiomedDPT"][-1] == "?"


def test_a_samples_time_is_scaled_by_steps():
    assert Sample("busi", 4, 50, fixed=3.0, trained=10.0).seconds(shots=16, epochs=100) == 3.0 + 80.0
    assert Sample("busi", 0, 0, fixed=3.0, trained=0.0).seconds(shots=0, epochs=0) == 3.0


def test_other_settings_of_any_complete_run_are_refused(phantom_root, tmp_path, capsys):
    tmp_path /= "results: #1"  # yaml quotes such a folder
    words = ["run", "--root", str(phantom_root), "--output", str(tmp_path), "--methods", "TipAdapter", "--shots", "1"]
    words += ["--seeds", "1,2", "--slots", "1", "TRAINER.TIPADAPTER.SEARCH_STEPS", "3"]
    assert main(words) == 0
    assert main([*words, "DATALOADER.NUM_WORKERS", "1", "--dry-run"]) == 0
    folder = run_for("few_shot", "phantom", "Tiny", "TipAdapter", 1, 2).folder(tmp_path)
    command = Options(tmp_path, str(phantom_root), opts=("TRAINER.TIPADAPTER.SEARCH_STEPS", "4")).command(
        run_for("few_shot", "phantom", "Tiny", "TipAdapter", 1, 2)
    )
    assert train.main([*command, "--overwrite"]) == 0
    capsys.readouterr()
    assert main([*words, "--dry-run"]) == 2
    printed = capsys.readouterr().err
    assert f"'{folder}' holds a run with other settings" in printed
    assert "-TRAINER.TIPADAPTER.SEARCH_STEPS: 4\n+TRAINER.TIPADAPTER.SEARCH_STEPS: 3" in printed


def test_a_lock_keeps_others_away_and_leaves_no_file_of_a_complete_run(tmp_path):
    folder = tmp_path / "seed1"
    folder.mkdir()
    (folder / ".model.pth.abcdefgh").write_text("half")
    lock = RunLock(folder)
    assert not list(folder.iterdir())
    assert is_locked(folder)
    with pytest.raises(LockedError):
        RunLock(folder)
    lock.release()
    assert not is_locked(folder)
    lock = RunLock(folder)
    (folder / MARKER).touch()
    lock.release()
    assert not lock_path(folder).exists()


def test_runs_are_carried_out_on_a_file_system_without_locks(tmp_path, monkeypatch, capsys):
    def flock(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    folder = tmp_path / "seed1"
    lock = RunLock(folder)
    assert f"no locks on the file system of '{folder}'" in capsys.readouterr().out
    assert not is_locked(folder)
    lock.release()
    assert not has_locks(tmp_path)
    monkeypatch.undo()
    assert has_locks(tmp_path)
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".lock") and "seed" not in path.name]


def test_a_run_by_hand_waits_for_the_process_that_works_on_it(phantom_root, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    words = ["--trainer", "CoOp", "--root", str(phantom_root), "--shots", "1", "--output-dir", str(folder), *FAST]
    lock = RunLock(folder)
    assert len(carry_out([parse_args(words)], wait=False)) == 1
    waiting, codes = threading.Event(), []
    announce = lambda *said: waiting.set() if "waiting" in said[0] else None  # noqa: E731
    monkeypatch.setattr("runs.lock.print", announce, raising=False)
    thread = threading.Thread(target=lambda: codes.append(train.main(words)))
    thread.start()
    assert waiting.wait(600)
    assert not list(folder.iterdir())
    lock.release()
    thread.join()
    assert codes == [0]
    assert {path.name for path in tmp_path.iterdir()} == {"run"}


def test_outcomes_of_an_attempt(phantom_root, tmp_path, monkeypatch):
    options = Options(tmp_path, str(phantom_root), opts=tuple(FAST))
    good, taken = make_plan("few_shot", ["phantom"], "Tiny", ["CoOp"], [1], [1, 2])
    lock = RunLock(taken.folder(tmp_path))
    assert attempt([good, taken], options) == [Outcome(good, DONE), Outcome(taken, LOCKED)]
    lock.release()
    assert is_complete(good.folder(tmp_path))
    (outcome,) = attempt([run_for("few_shot", "phantom", "Tiny", "CoOp", 99, 1)], options)
    assert outcome.state == REFUSED
    assert "use --shots 20" in outcome.message
    monkeypatch.setattr("trainers.stack.step", lambda batches: [][1])
    (outcome,) = attempt([taken], options)
    assert (outcome.state, outcome.message) == (FAILED, "IndexError: list index out of range")
    assert "IndexError" in (taken.folder(tmp_path) / "log.txt").read_text()


def test_the_next_run_of_a_process_finds_the_backbone_loaded(build):
    import gc

    first = build("ZeroShot")
    known = id(first.backbone)
    del first
    gc.collect()
    assert id(build("CoOp").backbone) == known
