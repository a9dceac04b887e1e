"""Variants of the settings side by side: the plan file, the commands it means, and the table."""

from pathlib import Path

import pytest

from dassl.errors import InputError
from sweep.__main__ import main
from sweep.ablation import read_plan, table
from sweep.plan import Axes
from tests.result_trees import base2new, few_shot

PROJECT = Path(__file__).resolve().parent.parent
PLAN = "methods: [CoOp]\nshots: [1]\nseeds: [1]\nvariants:\n  usual: {}\n  slow: {OPTIM.LR: 0.001}\n"


@pytest.fixture
def written(tmp_path):
    def _written(text):
        path = tmp_path / "plan.yaml"
        path.write_text(text)
        return path

    return _written


def test_a_plan_is_read(written):
    plan = read_plan(written(PLAN))
    assert plan.arguments == ("--methods", "CoOp", "--shots", "1", "--seeds", "1")
    assert plan.variants == {"usual": {}, "slow": {"OPTIM.LR": "0.001"}}


@pytest.mark.parametrize("path", sorted((PROJECT / "ablations").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_plans_of_the_project_are_read(path):
    assert len(read_plan(path).variants) > 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "variants"),
        ("variants: [a]", "variants"),
        ("variants: {a: 1}", "'a' must hold settings"),
        ("variants: {'../a': {}}", "no name of a variant"),
        ("variants: {a: {}}\nroot: /x", "unknown key"),
        ("variants: {", "cannot be read"),
    ],
)
def test_a_wrong_plan_is_refused(written, text, message):
    with pytest.raises(InputError, match=message):
        read_plan(written(text))
    assert main(["ablate", str(written(text))]) == 2


def rows_of(text):
    """The rows of all tables in a text, without their headers."""
    lines = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith("| variant")]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]


def test_the_table_has_a_row_per_variant_with_paired_differences(tmp_path):
    for seed, usual, slow in ((1, 60.0, 62.0), (2, 70.0, 76.0)):
        few_shot(tmp_path / "usual", "busi", "CoOp", 1, seed, usual)
        few_shot(tmp_path / "slow", "busi", "CoOp", 1, seed, slow)
        few_shot(tmp_path / "slow", "busi", "CoOp", 4, seed, slow)
    text = table([Axes("few_shot", ("busi",), "Tiny", ("CoOp",), (1, 4), (1, 2))], tmp_path, ["usual", "slow"])
    assert text.splitlines()[0] == "busi, CoOp, accuracy in %"
    header = text.splitlines()[2]
    assert [cell.strip() for cell in header.split("|")[1:-1]] == ["variant", "K=1", "difference", "K=4", "difference"]
    # Differences 2 and 6: mean 4, standard deviation 2.83, half of the interval 12.706 * 2.83 / √2 = 25.41.
    assert rows_of(text) == [
        ["usual", "65.00 ± 63.53", "", "–", ""],
        ["slow", "69.00 ± 88.94", "+4.00 ± 25.41", "69.00 ± 88.94", "–"],
    ]


def test_the_average_over_data_sets_comes_first(tmp_path):
    for dataset, usual, slow in (("busi", 60.0, 62.0), ("btmri", 80.0, 84.0)):
        for seed in (1, 2):
            few_shot(tmp_path / "usual", dataset, "CoOp", 1, seed, usual + seed)
            few_shot(tmp_path / "slow", dataset, "CoOp", 1, seed, slow + seed)
    grids = [Axes("few_shot", (name,), "Tiny", ("CoOp",), (1,), (1, 2)) for name in ("busi", "btmri")]
    text = table(grids, tmp_path, ["usual", "slow"])
    assert [line for line in text.splitlines() if "accuracy" in line] == [
        "average over 2 data sets, CoOp, accuracy in %",
        "busi, CoOp, accuracy in %",
        "btmri, CoOp, accuracy in %",
    ]
    # The seeds differ by 1: standard deviation 0.71, half of the interval 12.706 * 0.71 / √2 = 6.35.
    assert rows_of(text)[:2] == [["usual", "71.50 ± 6.35", ""], ["slow", "74.50 ± 6.35", "+3.00 ± 0.00"]]
    assert rows_of(text)[5] == ["slow", "85.50 ± 6.35", "+4.00 ± 0.00"]


def test_base_to_new_has_a_table_for_each_part_and_a_dash_for_a_missing_run(tmp_path):
    base2new(tmp_path / "usual", "busi", "CoOp", 1, 80.0, 50.0)
    text = table([Axes("base2new", ("busi",), "Tiny", ("CoOp",), (16,), (1,))], tmp_path, ["usual", "slow"])
    assert [line for line in text.splitlines() if "accuracy" in line] == [
        "busi, CoOp, base classes, accuracy in %",
        "busi, CoOp, new classes, accuracy in %",
    ]
    assert rows_of(text) == [["usual", "80.00", ""], ["slow", "–", "–"], ["usual", "50.00", ""], ["slow", "–", "–"]]


def test_a_wrong_setting_of_the_last_variant_is_refused_before_the_first_runs(written, tmp_path, phantom_root, capsys):
    plan = written(PLAN.replace("OPTIM.LR: 0.001", "OPTIM.LRR: 0.001"))
    assert main(["ablate", str(plan), "--output", str(tmp_path / "out"), "--root", str(phantom_root)]) == 2
    assert "OPTIM.LRR" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_all_data_sets_are_taken_one_by_one(written, tmp_path, capsys):
    plan = written(PLAN.replace("OPTIM.LR: 0.001", 'DATASET.PROMPTS: "{dataset}.json"').replace("CoOp", "BiomedDPT"))
    words = ["ablate", str(plan), "--datasets", "all", "--root", str(tmp_path), "--output", str(tmp_path / "out")]
    assert main([*words, "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "22 of 22: variant 'slow', retina: DATASET.PROMPTS retina.json" in printed
    assert printed.count("1 runs, 0 complete already, 1 to do") == 22


def test_the_command_line_wins_over_the_plan(written, tmp_path, phantom_root, capsys):
    words = ["ablate", str(written(PLAN)), "--output", str(tmp_path / "out"), "--root", str(phantom_root)]
    assert main([*words, "--dry-run", "--seeds", "1,2,4"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("3 runs, 0 complete already, 3 to do") == 2
    assert "variant 'slow', phantom: OPTIM.LR 0.001" in printed
    assert not (tmp_path / "out" / "ablation.md").exists()


def test_the_name_of_the_data_set_stands_in_settings(written, phantom_root, tmp_path, capsys):
    text = PLAN.replace("[CoOp]", "[BiomedDPT]").replace("OPTIM.LR: 0.001", 'DATASET.PROMPTS: "none/{dataset}.json"')
    words = ["ablate", str(written(text)), "--output", str(tmp_path / "out"), "--root", str(phantom_root)]
    main([*words, "--dry-run"])
    assert "DATASET.PROMPTS none/phantom.json" in capsys.readouterr().out
