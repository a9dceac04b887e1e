"""The report's tables of clinical metrics, confusion matrices as pictures, and comparisons with one method."""

import csv

import pytest
from PIL import Image

from runs.folder import MARKER
from sweep.__main__ import main
from sweep.report.collect import collect
from sweep.report.confusion import matrices
from sweep.report.grid import grids
from tests.result_trees import base2new, few_shot, numbers
from tests.test_report import Selection, cells, report

MEMORY = {"peak_bytes": 512_000_000, "of": "process"}


def of_test(correct, wrong, low=80.0, brier=0.25):
    """The metrics of 10 images of "ill" and 5 of "well"; some of "ill" are right, some of "well" are not."""
    counts = [[correct, 10 - correct], [wrong, 5 - wrong]]
    sensitivity, specificity = 10.0 * correct, 20.0 * (5 - wrong)
    return {
        **numbers(60.0),
        "auroc": low + 5,
        "auroc_interval": [low, low + 8],
        "balanced_accuracy": (sensitivity + specificity) / 2,
        "brier": brier,
        "sensitivity": {"ill": sensitivity, "well": specificity},
        "specificity": {"ill": specificity, "well": sensitivity},
        "confusion_matrix": counts,
    }


@pytest.fixture
def tree(tmp_path):
    """CoOp with two seeds and zero-shot on one data set; seeds differ in what is given to `of_test`."""
    output = tmp_path / "out"
    runs = [("CoOp", 1, (8, 1, 80.0, 0.25)), ("CoOp", 2, (9, 2, 82.0, 0.27)), ("ZeroShot", 1, (6, 3, 60.0, 1.25))]
    for method, seed, values in runs:
        few_shot(output, "busi", method, 4, seed, 60.0, metrics={"all": of_test(*values)}, memory=MEMORY)
    return output


def test_tables_by_hand(tree):
    made = report(tree)
    # Seeds 80, 60 of well: mean 70, t(0.975, 1) = 12.706, half 12.706 · 10.
    assert cells(made, "sensitivity_busi")["CoOp"] == ["85.00 ± 63.53", "70.00 ± 127.06"]
    assert cells(made, "specificity_busi")["ZeroShot"] == ["40.00", "60.00"]
    assert cells(made, "balanced_accuracy_busi")["CoOp"] == ["77.50 ± 31.77"]
    # The interval over images is the mean of 80 to 88 and 82 to 90; the one over seeds is half of 2, times 12.706.
    assert cells(made, "auroc_busi")["CoOp"] == ["86.00 ± 12.71 [81.00, 89.00]"]
    assert cells(made, "auroc_busi")["ZeroShot"] == ["65.00 [60.00, 68.00]"]
    assert cells(made, "brier_busi")["CoOp"] == ["0.2600 ± 0.1271"]
    (brier,) = [table for table in made.sections[0].tables if table.key == "brier_busi"]
    assert [name for name, row in brier.rows if row[0].marked] == ["CoOp"]  # the smallest is the best
    assert cells(made, "cost")["CoOp"][-1] == "512 (process)"
    (table,) = [table for table in made.sections[0].tables if table.key == "sensitivity_busi"]
    assert (table.title, table.columns) == ("Sensitivity of each class in %, busi, K=4", ["ill", "well"])


def test_base_and_new_classes_have_columns_of_their_own(tmp_path):
    base2new(tmp_path, "busi", "CoOp", 1, 60.0, 70.0, metrics={"base": of_test(8, 1), "new": numbers(70.0)})
    made = report(tmp_path)
    (table,) = [table for table in made.sections[0].tables if table.key == "sensitivity_busi"]
    assert table.columns == ["ill (base)", "well (base)", "a (new)"]
    assert cells(made, "specificity_busi")["CoOp"] == ["80.00", "80.00", "–"]
    assert cells(made, "auroc_busi_16")["CoOp"] == ["85.00 [80.00, 88.00]", "–"]


def test_metrics_that_no_run_states_have_no_tables(tmp_path):
    few_shot(tmp_path, "busi", "CoOp", 1, 1, 60.0)
    keys = {table.key for table in report(tmp_path).sections[0].tables}
    assert {"accuracy_busi", "macro_f1_busi", "ece_busi", "sensitivity_busi"} <= keys
    assert not keys & {"auroc_busi", "balanced_accuracy_busi", "brier_busi", "specificity_busi"}


def test_csv_has_the_metrics_and_the_memory(tree):
    assert main(["report", str(tree), "--formats", "csv"]) == 0
    row = next(csv.DictReader((tree / "report" / "runs.csv").open()))
    assert (row["all_brier"], row["all_auroc_low"], row["all_auroc_high"]) == ("0.25", "80.0", "88.0")
    assert (row["peak_memory_bytes"], row["peak_memory_of"]) == ("512000000", "process")
    wide = [row["metric"] for row in csv.DictReader((tree / "report" / "wide.csv").open())]
    assert {"brier", "balanced_accuracy", "auroc"} <= {*wide}


def grid_of(output):
    (grid,) = grids(collect(output, confusion=True), Selection())
    return grid


def test_matrices_are_summed_over_seeds(tree):
    coop, zero = sorted(matrices(grid_of(tree)), key=lambda matrix: matrix.path)
    assert coop.counts == ((8 + 9, 2 + 1), (1 + 2, 4 + 3))
    assert coop.alt == (
        "Confusion matrix, CoOp on busi, 4 shots, 2 runs: 24 of 30 images are classified correctly; "
        "most often wrong: ill, taken for well (3)"
    )
    assert (zero.path, zero.title) == ("busi/ZeroShot", "ZeroShot on busi, 1 run")
    (tree / "few_shot/busi/Tiny/CoOp/4shots/seed2" / MARKER).unlink()
    assert [matrix.path for matrix in matrices(grid_of(tree))] == ["busi/ZeroShot"]  # a missing run is never left out


def test_matrices_of_other_classes_or_of_fractions_are_not_summed(tmp_path):
    fractions = {**of_test(8, 1), "confusion_matrix": [[0.8, 0.2], [0.2, 0.8]]}
    few_shot(tmp_path, "busi", "CoOp", 1, 1, 60.0, metrics={"all": fractions})
    few_shot(tmp_path, "covid", "CoOp", 1, 1, 60.0)
    assert matrices(grid_of(tmp_path)) == []


def test_matrices_are_drawn_on_request(tree, capsys):
    assert main(["report", str(tree), "--formats", "md,html", "--confusion"]) == 0
    section = next((tree / "report" / "confusion").iterdir())
    with Image.open(section / "busi" / "CoOp.png") as picture:
        assert min(picture.size) > 300
    page = (tree / "report" / "index.html").read_text()
    assert page.count('alt="Confusion matrix, ') == 2
    assert f"(confusion/{section.name}/busi/CoOp.png)" in (tree / "report" / "report.md").read_text()
    assert main(["report", str(tree), "--formats", "html", "--to", str(tree / "plain")]) == 0
    assert not (tree / "plain" / "confusion").exists()
    assert main(["report", str(tree), "--formats", "md", "--confusion"]) == 2
    assert "add png or html" in capsys.readouterr().err


def test_every_method_is_compared_with_one(tree, capsys):
    few_shot(tree, "busi", "VPT", 4, 1, 63.0)
    few_shot(tree, "busi", "VPT", 4, 2, 64.0)
    assert main(["report", str(tree), "--formats", "md", "--against", "VPT"]) == 0
    text = (tree / "report" / "report.md").read_text()
    assert "### Accuracy against VPT" in text
    assert "against CoOp" not in text
    assert "-3.50 (p " in text  # CoOp 60, 60 against 63, 64
    assert main(["report", str(tree), "--formats", "md", "--against", "Coop"]) == 2
    assert "unknown method of --against 'Coop'. Did you mean 'CoOp'?" in capsys.readouterr().err
