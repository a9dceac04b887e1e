"""Damaged runs are named with the reason and left out; they take down no command."""

import json
import os
import re
from pathlib import Path

import pytest

from runs.folder import CONFIG_FILE, MARKER, RESULTS_FILE
from runs.results import DamagedError, headline, read_results
from sweep.__main__ import main
from sweep.report.collect import collect
from tests.result_trees import few_shot
from tests.test_report import cells, report


def changed(**values):
    """Writes the results with some values replaced."""

    def change(file):
        results = {**json.loads(file.read_text()), **values}
        file.write_text(json.dumps({name: value for name, value in results.items() if value is not ...}))

    return change


def metrics(**values):
    return changed(metrics={"all": {"accuracy": 60.0, **values}})


def written(content):
    return lambda file: file.write_bytes(content)


def replaced(make):
    def change(file):
        file.unlink()
        make(file)

    return change


DAMAGES = {
    "empty": (written(b""), "cannot be used"),
    "a list": (written(b"[]"), "it holds no JSON object"),
    "null": (written(b"null"), "it holds no JSON object"),
    "cut": (written(b'{"protocol": "few_'), "cannot be used"),
    "utf-16": (lambda file: file.write_text(file.read_text(), encoding="utf-16"), "utf-8"),
    "latin-1": (written('{"dataset": "ä"}'.encode("latin-1")), "utf-8"),
    "nested": (written(b"[" * 200_000), "it is nested too deeply"),
    "nested object": (written(b'{"a":' * 200_000), "it is nested too deeply"),
    "missing": (Path.unlink, "No such file"),
    "a folder": (replaced(Path.mkdir), "it is no file"),
    "a fifo": (replaced(os.mkfifo), "it is no file"),
    "a device": (replaced(lambda file: file.symlink_to("/dev/zero")), "it is no file"),
    "a loop": (replaced(lambda file: file.symlink_to(file)), "Too many levels"),
    "huge": (lambda file: os.truncate(file, 2**40), "bytes"),
    "no metrics": (changed(metrics=...), "'metrics' is missing"),
    "metrics a list": (changed(metrics=[1]), "metrics: [1] is no object"),
    "metrics of another part": (changed(metrics={"base": {"accuracy": 60.0}}), "no numbers of the part 'all'"),
    "unknown part": (changed(metrics={"x\n\x1b[2J": {"accuracy": 60.0}}), "is no part of the classes"),
    "part a number": (changed(metrics={"all": 60.0}), "all: 60.0 is no object"),
    "accuracy 150": (metrics(accuracy=150), "accuracy: 150 is no percentage"),
    "accuracy true": (metrics(accuracy=True), "accuracy: True is no percentage"),
    "accuracy nan": (metrics(accuracy=float("nan")), "accuracy: nan is no percentage"),
    "accuracy infinite": (metrics(accuracy=float("inf")), "accuracy: inf is no percentage"),
    "accuracy huge": (metrics(accuracy=10**400), "is no percentage"),
    "accuracy text": (metrics(accuracy="60"), "accuracy: '60' is no percentage"),
    "accuracy null": (metrics(accuracy=None), "an accuracy is missing"),
    "macro-F1 a list": (metrics(macro_f1=[]), "macro_f1: [] is no percentage"),
    "classes a list": (metrics(sensitivity=[1]), "sensitivity: [1] is no object"),
    "class nan": (metrics(sensitivity={"a": float("nan")}), "sensitivity: nan is no percentage"),
    "method a list": (changed(method=[1]), "method: [1] is no text"),
    "seed true": (changed(seed=True), "seed: True is no integer"),
    "seed huge": (changed(seed=10**30), "is no integer"),
    "shots text": (changed(shots="1"), "shots: '1' is no integer"),
    "other seed": (changed(seed=7), "its seed is 7, its folder says 1"),
    "other fold": (changed(fold=1, folds=2), "its fold is 1, its folder says 0"),
    "fold beyond": (changed(fold=3, folds=2), "fold is 3 of 2"),
    "variant a path": (changed(variant="x/../../../TRAVERSED"), "is no name of a variant"),
    "variant a list": (changed(variant=["clean"]), "variant: ['clean'] is no text"),
    "parameters": (changed(trainable_parameters=1.5), "1.5 is no number of parameters"),
    "losses": (changed(loss_per_epoch=[1.0, "x"]), "loss_per_epoch: it holds something else"),
    "losses an object": (changed(loss_per_epoch={}), "loss_per_epoch: {} is no list"),
    "seconds": (changed(seconds={"build": 1.0, "train_and_test": "long"}), "seconds: train_and_test is 'long'"),
    "seconds infinite": (changed(seconds={"train_and_test": float("inf")}), "seconds: train_and_test is inf"),
    "seconds a list": (changed(seconds=[1]), "seconds: [1] is no object"),
    "stack 0": (changed(seconds={"train_and_test": 1.0, "runs_in_stack": 0}), "runs_in_stack is 0"),
    "environment": (changed(environment=["cpu"]), "environment: ['cpu'] is no object"),
    "commit a number": (changed(environment={"git_commit": 7}), "environment: git_commit: 7 is no text"),
    "imported": (changed(imported={"from": 7}), "imported: from: 7 is no text"),
    "digest": (changed(settings_digest=7), "settings_digest: 7 is no text"),
    "calibration": (changed(calibration=[1.0]), "calibration: [1.0] is no object"),
    "temperature": (changed(calibration={"temperature": 0}), "calibration: the temperature is 0"),
    "split": (changed(split={"digest": []}), "split: digest: [] is no text"),
}  # fmt: skip
AGAINST_THE_FOLDER = {"metrics of another part", "other seed", "other fold"}  # what else could be a run's results
MARKERS = {
    "a folder": (replaced(Path.mkdir), "COMPLETE is no file"),
    "a fifo": (replaced(os.mkfifo), "COMPLETE is no file"),
    "a loop": (replaced(lambda file: file.symlink_to(file)), "Too many levels"),
}


@pytest.fixture
def tree(tmp_path):
    """Two runs of CoOp on one data set; the first is the one to be damaged."""
    output = tmp_path / "out"
    return few_shot(output, "phantom", "CoOp", 1, 1, 60.0), few_shot(output, "phantom", "CoOp", 1, 2, 62.0), output


def damage(name, folder):
    change, reason = DAMAGES[name]
    change(folder / RESULTS_FILE)
    return reason


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_run_is_named_and_the_rest_is_reported(tree, name):
    first, _, output = tree
    reason = damage(name, first)
    made = report(output)
    (line,) = made.damaged
    assert line.startswith("few_shot/phantom/Tiny/CoOp/1shots/seed1: results.json cannot be used (")
    assert line.endswith("; delete the folder to run again")
    assert reason in line
    assert line.isprintable()
    assert len(line) < 400
    assert cells(made, "accuracy_phantom")["CoOp"] == ["– (1)"]
    assert made.facts[0][1].startswith("1 complete, 1 damaged; 1 runs")
    if name not in AGAINST_THE_FOLDER:
        with pytest.raises(DamagedError, match=r"delete the folder to run again$"):
            read_results(first)


@pytest.mark.parametrize("name", MARKERS)
def test_a_damaged_marker_is_named(tree, name):
    first, _, output = tree
    change, reason = MARKERS[name]
    change(first / MARKER)
    (line,) = report(output).damaged
    assert reason in line
    with pytest.raises(DamagedError):
        read_results(first)


@pytest.mark.parametrize("name", ["empty", "utf-16", "nested", "a fifo", "a loop", "accuracy nan", "variant a path"])
def test_no_command_is_taken_down(tree, name, phantom_root, tmp_path, capsys):
    first, second, output = tree
    (second / CONFIG_FILE).write_text("not read")
    reason = damage(name, first)
    assert main(["report", str(output), "--formats", "md,csv,tex"]) == 0
    printed = capsys.readouterr().out
    assert "damaged: few_shot/phantom/Tiny/CoOp/1shots/seed1" in printed
    assert reason in printed
    assert "62.00" in (output / "report" / "runs.csv").read_text().replace("62.0,", "62.00,")
    grid = ["--output", str(output), "--root", str(phantom_root), "--methods", "CoOp", "--shots", "1"]
    assert main(["table", *grid, "--seeds", "1,2"]) == 0
    assert reason in capsys.readouterr().out
    # The damaged run alone is planned: the sweep has nothing to do, says so, and does not succeed.
    for more in ([], ["--dry-run"]):
        assert main(["run", *more, *grid, "--seeds", "1"]) == (0 if more else 1)
        printed = capsys.readouterr().out
        assert "1 runs, 0 complete already, 0 to do, 1 damaged and left out" in printed
        assert "delete the folder to run again" in printed
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_train_in_a_damaged_folder_says_the_way_out(command, tmp_path):
    folder = few_shot(tmp_path, "phantom", "CoOp", 1, 1, 60.0)
    for name in ("empty", "a loop", "accuracy 150"):
        damage(name, folder) if name != "accuracy 150" else (folder / RESULTS_FILE).unlink()
        code, printed = command("--trainer", "CoOp", "--shots", 1, out=folder.relative_to(tmp_path))
        assert code == 2
        assert "delete the folder to run again" in printed.err
        assert len(printed.err.splitlines()) < 3


@pytest.mark.parametrize("content", [b"", b"- 1", b"\xff", b"a: [", b"A: " + b"[" * 5000 + b"]" * 5000])
def test_a_damaged_configuration_is_a_damaged_run(tree, phantom_root, capsys, content):
    first, _, output = tree
    (first / CONFIG_FILE).write_bytes(content)
    grid = ["--output", str(output), "--root", str(phantom_root), "--methods", "CoOp", "--shots", "1", "--seeds", "1"]
    assert main(["run", *grid]) == 1
    assert re.search(r"damaged: .*config.yaml' (cannot be read|holds no settings)", capsys.readouterr().out)


def test_folders_that_cannot_be_read_are_named(tree, monkeypatch, capsys):
    output = tree[-1]
    scan = os.scandir

    def refusing(path):
        if os.path.basename(path) == "busi":
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    few_shot(output, "busi", "CoOp", 1, 1, 60.0)
    (output / "few_shot" / "loop").symlink_to(output / "few_shot" / "loop")
    monkeypatch.setattr(os, "scandir", refusing)
    found = collect(output)
    assert found.problems == ["few_shot/busi: Permission denied"]
    assert len(found.records) == 2
    assert "few_shot/busi: Permission denied" in report(output).damaged


def test_runs_that_were_not_tested_are_said(tree, capsys):
    """TEST.NO_TEST: such a run is neither damaged nor missing without a word."""
    first, second, output = tree
    changed(metrics={})(first / RESULTS_FILE)
    assert headline(read_results(first)) == "not tested (TEST.NO_TEST)"
    made = report(output)
    assert made.damaged == []
    assert made.facts[0][1] == "1 complete, 1 not tested; 1 runs of the tables missing"
    assert made.sections[0].missing == ["phantom, CoOp, 1 shots: seed 1: not tested (TEST.NO_TEST)"]
    changed(metrics={})(second / RESULTS_FILE)
    assert main(["report", str(output)]) == 2
    assert "(0 started, not complete, 2 not tested (TEST.NO_TEST))" in capsys.readouterr().err
    assert main(["table", "--output", str(output), "--methods", "CoOp", "--shots", "1", "--seeds", "1"]) == 0
    assert "not tested (TEST.NO_TEST): CoOp on phantom" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "--output", "FILE"], "is no folder"),
        (["run", "--output", "FILE/out", "--methods", "ZeroShot"], "cannot be written"),
        (["run", "--output", "LOOP"], "is no folder"),
        (["run", "--output", ""], "is no folder"),
        (["table", "--output", "FILE"], "is no folder"),
        (["report", ""], "is no folder"),
        (["report", "FILE"], "does not exist"),
        (["report", "OUT", "--formats", "md", "--to", "FILE"], "cannot be written"),
        (["report", "OUT", "--formats", "md", "--to", "FILE/x"], "cannot be written"),
        (["import", "FILE"], "does not exist"),
        (["import", "LOGS", "--output", "FILE"], "cannot be written"),
        (["run", "--methods", ""], "the list is empty"),
        (["run", "--seeds", "-1"], "no integer from 0"),
        (["run", "--seeds", "4294967296"], "no integer from 0 to 4294967295"),
        (["run", "--shots", "0"], "at least 1 image per class"),
        (["run", "--folds", "1"], "at least 2 folds"),
        (["run", "--stack", "-1"], "no integer from 0"),
        (["run", "--per-gpu", "0"], "no integer from 1"),
    ],
)
def test_bad_arguments_and_output_folders_end_with_exit_code_2(tree, phantom_root, tmp_path, capsys, words, said):
    (tmp_path / "file").write_text("the user's")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    log = tmp_path / "logs" / "BUSI" / "shots_1" / "CoOp_Tiny" / "cfg" / "seed1" / "log.txt"
    log.parent.mkdir(parents=True)
    log.write_text("* accuracy: 60.0%\n")
    places = {"FILE": tmp_path / "file", "LOOP": tmp_path / "loop", "OUT": tree[2], "LOGS": tmp_path / "logs"}
    for name, place in places.items():
        words = [word.replace(name, str(place)) for word in words]
    if words[0] == "run":
        words = [*words, "--root", str(phantom_root)]
    try:
        code = main(words)
    except SystemExit as error:  # of argparse
        code = error.code
    assert code == 2
    assert said in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "the user's"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("* accuracy: 1.2.3%", "no line '* accuracy"),
        ("* accuracy: 160.0%", "impossible result"),
        ("* total: 10\n* correct: 20\n* accuracy: 200.0%", "impossible result"),
        ("* accuracy: 60.0%\nElapsed: 99999999999 days, 0:00:00", ""),
        (None, "it is no file"),
    ],
)
def test_logs_of_other_code_are_checked(tmp_path, capsys, line, said):
    log = tmp_path / "logs" / "BUSI" / "shots_1" / "CoOp_Tiny" / "cfg" / "seed1" / "log.txt"
    log.parent.mkdir(parents=True)
    log.write_text(line) if line else os.mkfifo(log)
    assert main(["import", str(tmp_path / "logs"), "--output", str(tmp_path / "out")]) == (2 if said else 0)
    assert said in capsys.readouterr().err
