"""Plans, their execution and the tables made of results."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from configs import untrained_methods
from runs.folder import MARKER, is_complete
from runs.results import read_results, write_results
from runs.run import Run
from sweep.__main__ import main
from sweep.plan import make_plan, run_for
from tests import faults
from tests.registered import METHODS

PROJECT = Path(__file__).resolve().parent.parent


def test_plan_has_every_cell_once():
    plan = make_plan("few_shot", ["busi", "btmri"], "Tiny", ["ZeroShot", "CoOp"], [1, 16], [1, 2, 3])
    assert len(plan) == len(set(plan)) == 2 * (1 + 2 * 3)
    assert plan[0] == Run("few_shot", "btmri", "Tiny", "CoOp", 16, 1)
    assert Run("few_shot", "busi", "Tiny", "ZeroShot", 0, 1) in plan


def test_untrained_methods_have_no_parameters(build):
    for name in METHODS:
        assert (build(name).trainable_parameters == 0) == (name in untrained_methods())


def complete(output, run, metrics):
    run.folder(output).mkdir(parents=True)
    write_results(run.folder(output), {**run.as_dict(), "metrics": metrics})


def test_a_sweep_goes_on_where_it_was(few_images, tmp_path, capsys):
    words = [
        "run",
        "--root",
        str(few_images),
        "--output",
        str(tmp_path),
        "--methods",
        "ZeroShot,CoOp",
        "--shots",
        "1",
    ]
    words += ["--seeds", "1,2", "OPTIM.MAX_EPOCH", "2"]
    assert main(words) == 0
    assert "3 runs, 0 complete already, 3 to do" in capsys.readouterr().out
    folders = sorted(path.parent for path in tmp_path.rglob(MARKER))
    assert len(folders) == 3
    results = [read_results(folder) for folder in folders]
    (folders[0] / MARKER).unlink()
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert "3 runs, 2 complete already, 1 to do" in printed
    assert "| ZeroShot |" in printed
    assert [read_results(folder)["metrics"] for folder in folders] == [result["metrics"] for result in results]
    assert (tmp_path / "few_shot" / "table.md").read_text() in printed
    assert main([*words[:-1], "3"]) == 2
    refused = capsys.readouterr().err
    assert "holds a run with other settings" in refused
    assert "-OPTIM.MAX_EPOCH: 2" in refused


def test_results_without_their_settings_are_refused(few_images, tmp_path, capsys):
    """Imported results have no settings to compare, so a sweep neither uses nor replaces them."""
    complete(tmp_path, run_for("few_shot", "phantom", "Tiny", "CoOp", 1, 1), {"all": {"accuracy": 70.0}})
    words = ["run", "--root", str(few_images), "--output", str(tmp_path), "--methods", "CoOp", "--shots", "1"]
    assert main([*words, "--seeds", "1", "OPTIM.MAX_EPOCH", "1"]) == 2
    assert "holds a result without its settings" in capsys.readouterr().err


def test_a_failing_run_is_reported_and_the_rest_goes_on(few_images, tmp_path, capsys):
    words = ["run", "--root", str(few_images), "--output", str(tmp_path), "--methods", "ZeroShot,CoOp"]
    code = main([*words, "--shots", "99", "--seeds", "1", "OPTIM.MAX_EPOCH", "1"])
    assert code == 1
    printed = capsys.readouterr()
    assert "1 runs failed" in printed.err
    assert is_complete(run_for("few_shot", "phantom", "Tiny", "ZeroShot", 99, 1).folder(tmp_path))
    lines = [line for line in printed.out.splitlines() if line.startswith("| CoOp")]
    assert lines[0].split("|")[2].strip() == "–"


def test_a_fault_of_one_run_leaves_its_neighbours_alone(few_images, tmp_path, capsys):
    """Seed 2 finds a file where its folder should be; the seeds beside it complete."""
    blocked = run_for("few_shot", "phantom", "Tiny", "CoOp", 1, 2).folder(tmp_path)
    blocked.parent.mkdir(parents=True)
    blocked.write_text("in the way")
    words = ["run", "--root", str(few_images), "--output", str(tmp_path), "--methods", "CoOp", "--shots", "1"]
    assert main([*words, "--slots", "1", "OPTIM.MAX_EPOCH", "1"]) == 1
    assert "1 runs failed" in capsys.readouterr().err
    complete = {path.parent.name for path in tmp_path.rglob(MARKER)}
    assert complete == {"seed1", "seed3"}


def test_unknown_names_stop_a_sweep_before_it_starts(tmp_path, capsys):
    assert main(["run", "--output", str(tmp_path / "out"), "--root", str(tmp_path / "none"), "--datasets", "all"]) == 2
    assert "does not exist" in capsys.readouterr().err
    for words in (["--methods", "CoOp,CoOps"], ["--datasets", "bus"], ["--backbone", "Tina"]):
        assert main(["run", "--output", str(tmp_path / "out"), *words]) == 2
        assert "Did you mean" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_shell_script_takes_coop_style_arguments(few_images, tmp_path):
    """The interpreter of the tests is the active environment, which satisfies the requirements."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "SHOTS": "1", "SEEDS": "1"}
    words = ["bash", str(PROJECT / "scripts" / "base2new.sh"), str(few_images), "phantom", "CoOp", "Tiny"]
    done = subprocess.run(
        [*words, "--output", str(tmp_path / "out"), "OPTIM.MAX_EPOCH", "1"], env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "| method   | base   | new   | H     |" in done.stdout
    (results,) = (tmp_path / "out").rglob("results.json")
    assert json.loads(results.read_text())["shots"] == 1


@pytest.mark.parametrize(("victim", "code"), [("interrupted sweep", 130), ("sweep", -signal.SIGKILL)])
def test_a_stopped_sweep_ends_with_the_numbers_of_an_undisturbed_one(few_images, tmp_path, monkeypatch, victim, code):
    """The sweep is stopped in the second epoch of a run, after the state of the first was saved."""
    words = ["run", "--root", str(few_images), "--methods", "CoOp", "--shots", "2", "--seeds", "1,2"]
    words += ["--stack", "1", "--slots", "1"]
    opts = ["OPTIM.MAX_EPOCH", "4", "DATALOADER.TRAIN_X.BATCH_SIZE", "4"]
    stopped = tmp_path / "stopped"
    (tmp_path / "deaths").write_text(json.dumps([victim, 7]))  # 4 steps and a saved state are the first 5 events
    monkeypatch.setenv(faults.DEATHS, str(tmp_path / "deaths"))
    process = faults.fork(*words[1:], "--output", stopped, *opts, said=tmp_path / "said.txt")
    process.join()
    assert process.exitcode == code
    assert "Traceback" not in (tmp_path / "said.txt").read_text()
    assert not list(stopped.rglob(MARKER))
    assert main([*words, "--output", str(stopped), *opts]) == 0
    assert main([*words, "--output", str(tmp_path / "whole"), *opts]) == 0
    assert any("Resumed from" in path.read_text() for path in stopped.rglob("log.txt"))
    for seed in (1, 2):
        run = run_for("few_shot", "phantom", "Tiny", "CoOp", 2, seed)
        resumed, whole = read_results(run.folder(stopped)), read_results(run.folder(tmp_path / "whole"))
        assert resumed["loss_per_epoch"] == whole["loss_per_epoch"]
        assert resumed["metrics"] == whole["metrics"]
        assert not (run.folder(stopped) / "checkpoint.pth").exists()
