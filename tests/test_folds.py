"""Cross-validation and all images as parts of a run's name: folders, plans, and cells computed by hand."""

import csv
import re

import pytest

import train
from runs.arguments import configuration, parse_args
from runs.folder import CONFIG_FILE, LOG_FILE, MARKER, is_complete
from runs.lock import RunLock, is_locked
from runs.results import read_results
from runs.run import Run, in_order, shots_in_words
from runs.settings import Settings
from sweep.__main__ import main
from sweep.check import check
from sweep.options import Options
from sweep.plan import Axes, Series, make_plan, name_of, stacks
from sweep.report.collect import collect
from sweep.report.summary import summary
from tests.own_images import class_folders
from tests.result_trees import base2new, few_shot
from tests.test_report import cells, report


def test_folders_and_names():
    run = Run("few_shot", "mine", "Tiny", "CoOp", 4, 2, 3)
    assert run.path("out") == "out/few_shot/mine/Tiny/CoOp/4shots/seed2/fold3"
    assert str(run) == "CoOp on mine (Tiny, few_shot, fold 3, 4 shots, seed 2)"
    assert run.as_dict()["fold"] == 3
    plain = Run("few_shot", "mine", "Tiny", "CoOp", -1, 2)
    assert plain.path("out") == "out/few_shot/mine/Tiny/CoOp/allshots/seed2"
    assert str(plain) == "CoOp on mine (Tiny, few_shot, all images, seed 2)"
    assert "fold" not in plain.as_dict()
    assert in_order([16, -1, 1, 16]) == [1, 16, -1]
    assert shots_in_words(1, 16, -1) == "1, 16 shots and all images"


def test_the_command_line_names_folds_and_all_images():
    words = ["--trainer", "CoOp", "--shots", "all"]
    _, run = configuration(parse_args([*words, "DATASET.FOLDS", "5", "DATASET.FOLD", "2"]))
    assert (run.shots, run.fold) == (-1, 2)
    cfg, run = configuration(parse_args(["--trainer", "CoOp", "--shots", "-1"]))
    assert (cfg.DATASET.NUM_SHOTS, run.shots, run.fold) == (-1, -1, 0)
    _, run = configuration(parse_args(["--trainer", "ZeroShot", "--shots", "-1", "DATASET.FOLDS", "5"]))
    assert (run.shots, run.seed, run.fold) == (0, 1, 1)


def test_plan_and_stacks():
    plan = make_plan("few_shot", ["mine"], "Tiny", ["CoOp", "ZeroShot"], [1, -1], [1, 2], 3)
    assert len(plan) == len(set(plan)) == 2 * 2 * 3 + 3
    assert plan[0] == Run("few_shot", "mine", "Tiny", "CoOp", -1, 1, 1)  # all images take longest
    assert {run.fold for run in plan} == {1, 2, 3}
    assert [[(run.shots, run.seed, run.fold) for run in stack] for stack in stacks(plan, most=4)][:2] == [
        [(-1, 1, 1), (-1, 1, 2), (-1, 1, 3), (-1, 2, 1)],
        [(-1, 2, 2), (-1, 2, 3)],
    ]
    command = Options("out", folds=3).command(plan[1])
    assert command[-6:] == ["--output-dir", plan[1].path("out"), "DATASET.FOLDS", "3", "DATASET.FOLD", "2"]
    assert command[command.index("--shots") + 1] == "-1"


def test_settings_of_every_fold_are_those_of_its_command_line(tmp_path):
    (tmp_path / "mine.yaml").write_text("DATASET: {NAME: Folder, FOLDER: Mine, CLASSES: [a, b]}\n")
    files = (("mine", str(tmp_path / "mine.yaml")),)
    options = Options(tmp_path / "out", str(tmp_path), dataset_files=files, folds=3)
    plan = make_plan("few_shot", ["mine"], "Tiny", ["CoOp"], [-1, 2], [1], 3)
    configured = check(plan, options)
    for run in plan:
        cfg, named = configuration(parse_args(options.command(run)))
        assert named == run
        assert configured[Series.of(run)].settings_of(run).digest == Settings.of(cfg).digest


def test_data_sets_without_a_cross_validation_are_refused(phantom_root, tmp_path, capsys):
    words = ["--root", str(phantom_root), "--output", str(tmp_path), "--methods", "ZeroShot", "--folds", "5"]
    assert main(["run", *words]) == 2
    assert "DATASET.FOLDS 5 is for the data set Folder" in capsys.readouterr().err
    assert main(["run", *words, "DATASET.FOLD", "2"]) == 2
    assert "use --folds" in capsys.readouterr().err


def fold_runs(output):
    """CoOp and BiomedDPT in two folds with two seeds, zero-shot in two folds."""
    for method, gain in (("CoOp", 0.0), ("BiomedDPT", 3.0)):
        for seed, accuracies in ((1, (60.0, 70.0)), (2, (62.0, 76.0))):
            for fold, accuracy in enumerate(accuracies, start=1):
                few_shot(output, "mine", method, 4, seed, accuracy + gain, fold=fold, folds=2)
    for fold, accuracy in ((1, 50.0), (2, 54.0)):
        few_shot(output, "mine", "ZeroShot", 4, 1, accuracy, fold=fold, folds=2)


def test_cells_by_hand(tmp_path):
    fold_runs(tmp_path)
    made = report(tmp_path)
    assert [section.title for section in made.sections] == ["Few-shot, Tiny, clean, 2 folds"]
    # Means over folds 65 and 69: deviation 2.828, t(0.975, 1) = 12.706: 12.706 · 2.828 / √2 = 25.41.
    assert cells(made, "accuracy_mine")["CoOp"] == ["67.00 ± 25.41"]
    assert cells(made, "accuracy_mine")["ZeroShot"] == ["52.00"]
    # One pair per seed, not per fold.
    assert "over 2 pairs" in next(t for t in made.sections[0].tables if t.key == "against_CoOp").notes[0]
    assert cells(made, "against_CoOp")["BiomedDPT"] == ["+3.00 (p 1.000)"]
    assert made.facts[0][1] == "10 complete; 0 runs of the tables missing"
    notes = made.sections[0].tables[0].notes
    assert "A value of a seed is the mean over its 2 folds, in which each image is tested once." in notes


def test_one_seed_shows_the_deviation_over_folds(tmp_path):
    fold_runs(tmp_path)
    made = report(tmp_path, seeds=(1,))
    # 60 and 70: mean 65, deviation 7.07; 50 and 54: 52, 2.83.
    assert cells(made, "accuracy_mine")["CoOp"] == ["65.00 (SD 7.07)"]
    assert cells(made, "accuracy_mine")["ZeroShot"] == ["52.00 (SD 2.83)"]
    (note,) = [note for note in made.sections[0].tables[0].notes if note.startswith("SD")]
    assert "Folds share training images and are not independent" in note
    axes = Axes("few_shot", ["mine"], "Tiny", ["ZeroShot", "CoOp"], [4], [1], 2)
    text = summary([axes], tmp_path)
    assert "accuracy in %, mean and standard deviation (SD) over 2 folds, which are not independent" in text
    assert re.search(r"^\| CoOp +\| 65\.00 \(SD 7\.07\) \|$", text, flags=re.MULTILINE)
    both = summary([axes._replace(seeds=[1, 2])], tmp_path)
    assert "mean ± 95 % interval over seeds of the means over 2 folds" in both
    assert "67.00 ± 25.41" in both


def test_missing_folds_are_counted(tmp_path):
    fold_runs(tmp_path)
    (tmp_path / "few_shot/mine/Tiny/CoOp/4shots/seed2/fold2" / MARKER).unlink()
    (tmp_path / "few_shot/mine/Tiny/ZeroShot/0shots/seed1/fold1" / MARKER).unlink()
    made = report(tmp_path)
    assert cells(made, "accuracy_mine")["CoOp"] == ["– (1)"]
    assert cells(made, "accuracy_mine")["ZeroShot"] == ["– (1)"]
    assert made.sections[0].missing == ["mine, CoOp, 4 shots: seed 2 (fold 2)", "mine, ZeroShot: fold 1"]
    assert made.facts[0][1] == "8 complete, 2 started; 2 runs of the tables missing"


def test_base_to_new_takes_the_mean_over_folds_of_each_part(tmp_path):
    for fold, (base, new) in ((1, (80.0, 60.0)), (2, (90.0, 60.0))):
        base2new(tmp_path, "mine", "CoOp", 1, base, new, fold=fold, folds=2)
    # H of 80, 60: 68.571; of 90, 60: 72; mean 70.286, deviation 2.42.
    assert cells(report(tmp_path), "accuracy_mine_16")["CoOp"] == [
        "85.00 (SD 7.07)",
        "60.00 (SD 0.00)",
        "70.29 (SD 2.42)",
    ]


def test_a_seed_folder_that_holds_folds_is_no_run(tmp_path):
    fold_runs(tmp_path)
    seed = tmp_path / "few_shot/mine/Tiny/CoOp/4shots/seed1"
    assert collect(tmp_path).started == []
    (seed / CONFIG_FILE).write_text("A: 1")  # a run without folds was started beside them
    assert collect(tmp_path).started == [Run("few_shot", "mine", "Tiny", "CoOp", 4, 1)]
    # Complete runs without folds, and of another number of folds, have sections of their own.
    few_shot(tmp_path / "other", "mine", "CoOp", 4, 1, 65.0)
    (tmp_path / "other/few_shot/mine/Tiny/CoOp/4shots/seed1/results.json").rename(seed / "results.json")
    (seed / MARKER).touch()
    few_shot(tmp_path, "mine", "CoOp", 4, 3, 65.0, fold=5, folds=5)
    titles = [section.title for section in report(tmp_path).sections]
    assert titles == ["Few-shot, Tiny, clean", "Few-shot, Tiny, clean, 2 folds", "Few-shot, Tiny, clean, 5 folds"]
    assert len({section.key for section in report(tmp_path).sections}) == 3


def test_the_lock_of_a_fold_stays_when_its_seed_is_locked(tmp_path):
    seed = tmp_path / "seed1"
    fold = RunLock(seed / "fold1")
    RunLock(seed).release()
    assert is_locked(seed / "fold1")
    fold.release()


def test_all_images_come_last(tmp_path):
    for shots, accuracy in ((-1, 90.0), (1, 60.0), (16, 80.0)):
        few_shot(tmp_path, "busi", "CoOp", shots, 1, accuracy)
    few_shot(tmp_path, "busi", "ZeroShot", -1, 1, 50.0)
    assert (tmp_path / "few_shot/busi/Tiny/CoOp/allshots/seed1" / MARKER).is_file()
    assert is_complete(tmp_path / "few_shot/busi/Tiny/ZeroShot/0shots/seed1")
    made = report(tmp_path)
    (table,) = [table for table in made.sections[0].tables if table.key == "accuracy_busi"]
    assert table.columns == ["K=1", "K=16", "all"]
    assert cells(made, "accuracy_busi") == {
        "ZeroShot": ["50.00", "50.00", "50.00"], "CoOp": ["60.00", "80.00", "90.00"],
    }  # fmt: skip
    assert ("shots", "1, 16, all") in made.sections[0].facts
    assert [curve.shots for curve in made.sections[0].curves] == [(1, 16)]
    assert main(["report", str(tmp_path), "--formats", "csv", "--shots", "all"]) == 0
    with open(tmp_path / "report" / "wide.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["all"] for row in rows if row["method"] == "CoOp" and row["metric"] == "accuracy"} == {"90.0"}
    (tmp_path / "few_shot/busi/Tiny/CoOp/allshots/seed1" / MARKER).unlink()
    (line,) = report(tmp_path).sections[0].missing
    assert line == "busi, CoOp, all images: seed 1"


def test_folds_of_own_images(tmp_path, capsys):
    """Two folds through train.py, their files, and what the sweep over them says."""
    class_folders(tmp_path, {"a": 6, "b": 6})
    (tmp_path / "mine.yaml").write_text("DATASET: {NAME: Folder, FOLDER: Mine}\n")
    data = ["--root", str(tmp_path), "--backbone", "Tiny"]
    tested = []
    for fold in (1, 2):
        run = Run("few_shot", "mine", "Tiny", "ZeroShot", 0, 1, fold)
        words = ["--trainer", "ZeroShot", "--dataset", str(tmp_path / "mine.yaml"), *data, "--shots", "1"]
        words += ["--output-dir", run.path(tmp_path / "out"), "DATASET.FOLDS", "2", "DATASET.FOLD", str(fold)]
        assert train.main(words) == 0
        results = read_results(run.path(tmp_path / "out"))
        assert (results["fold"], results["folds"]) == (fold, 2)
        tested.append(results["metrics"]["all"]["total"])
        assert (run.folder(tmp_path / "out") / LOG_FILE).is_file()
    assert sum(tested) == 12
    capsys.readouterr()
    words = ["--datasets", str(tmp_path / "mine.yaml"), *data, "--methods", "ZeroShot", "--shots", "1,2"]
    assert main(["run", "--dry-run", *words, "--output", str(tmp_path / "out"), "--folds", "2"]) == 0
    assert "2 runs, 2 complete already, 0 to do" in capsys.readouterr().out
    assert main(["report", str(tmp_path / "out"), "--formats", "csv"]) == 0
    with open(tmp_path / "out" / "report" / "runs.csv", newline="") as file:
        assert [row["fold"] for row in csv.DictReader(file)] == ["1", "2"]


def test_a_run_that_learns_nothing_is_named_by_what_was_asked_for():
    run = Run("few_shot", "busi", "Tiny", "ZeroShot", 0, 1)
    assert str(run) == "ZeroShot on busi (Tiny, few_shot, any shots and seed)"
    grids = [Axes("base2new", ["busi"], "Tiny", ["ZeroShot"], [16], [7])]
    grids.append(Axes("few_shot", ["busi"], "Tiny", ["ZeroShot"], [16, 1, -1], [1, 2]))
    asked = "1, 16 shots and all images, seeds 1, 2: one run, as it learns nothing"
    assert name_of(run, grids) == f"ZeroShot on busi (Tiny, few_shot, {asked})"
    trained = Run("few_shot", "busi", "Tiny", "CoOp", 16, 2)
    assert name_of(trained, grids) == str(trained) == "CoOp on busi (Tiny, few_shot, 16 shots, seed 2)"


@pytest.mark.parametrize("words", [["--shots", "some"], ["--shots", "1.5"]])
def test_other_words_for_shots_are_refused(words, capsys):
    with pytest.raises(SystemExit) as ended:
        train.main(["--trainer", "CoOp", *words])
    assert ended.value.code == 2
    assert "invalid number of shots" in capsys.readouterr().err
