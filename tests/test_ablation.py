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


def test_the_table_has_paired_differences(tmp_path):
    for seed, usual, slow in ((1, 60.0, 62.0), (2, 70.0, 76.0)):
        few_shot(tmp_path / "usual", "busi", "CoOp", 1, seed, usual)
        few_shot(tmp_path / "slow", "busi", "CoOp", 1, seed, slow)
    text = table([Axes("few_shot", ("busi",), "Tiny", ("CoOp",), (1,), (1, 2))], tmp_path, ["usual", "slow"])
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if "CoOp" in line]
    # Differences 2 and 6: mean 4, standard deviation 2.83, half of the interval 12.706 * 2.83 / √2 = 25.41.
    assert rows[0] == ["busi", "CoOp", "1", "all", "usual", "65.00 ± 63.53", ""]
    assert rows[1] == ["busi", "CoOp", "1", "all", "slow", "69.00 ± 88.94", "+4.00 ± 25.41"]


def test_base_to_new_has_a_row_for_each_part_and_a_dash_for_a_missing_run(tmp_path):
    base2new(tmp_path / "usual", "busi", "CoOp", 1, 80.0, 50.0)
    text = table([Axes("base2new", ("busi",), "Tiny", ("CoOp",), (16,), (1,))], tmp_path, ["usual", "slow"])
    rows = [[cell.strip() for cell in line.split("|")[4:-1]] for line in text.splitlines() if "CoOp" in line]
    assert rows == [
        ["base", "usual", "80.00", ""],
        ["base", "slow", "–", "–"],
        ["new", "usual", "50.00", ""],
        ["new", "slow", "–", "–"],
    ]


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
