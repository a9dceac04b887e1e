"""Logs of CoOp-style code become results, or are refused with the reason."""

import json

import pytest

from runs.results import read_results
from sweep.__main__ import main
from tests.test_report import cells, report

RESULT = """Evaluate on the *test* set
=> result
* total: 1,717
* correct: 1,396
* accuracy: 81.3%
* error: 18.7%
* macro_f1: 80.1%
Elapsed: 0:03:20
"""
RUN = "BTMRI/shots_16/CoOp_BiomedCLIP/nctx4_ctpend/seed{}/log.txt"


def write(root, name, text=RESULT):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"Loading trainer: CoOp_BiomedCLIP\nepoch [1/100] loss 1.2\nFinish training\n{text}")
    return path


def imported(logs, *words):
    output = logs.parent / "imported"
    return main(["import", str(logs), "--output", str(output), *words]), output


def test_few_shot_logs_become_results(tmp_path, capsys):
    logs = tmp_path / "logs"
    for seed in (1, 2):
        write(logs, RUN.format(seed))
    write(logs, "COVID_19/shots_1/CoOp_BiomedCLIP/rn50/seed1/log.txt")
    code, output = imported(logs)
    assert code == 0
    assert "3 runs imported" in capsys.readouterr().out
    assert (output / "few_shot/covid/BiomedCLIP/CoOp/1shots/seed1/COMPLETE").is_file()
    results = read_results(output / "few_shot/btmri/BiomedCLIP/CoOp/16shots/seed1")
    assert results["metrics"]["all"]["accuracy"] == pytest.approx(100 * 1396 / 1717)
    assert results["metrics"]["all"]["macro_f1"] == 80.1
    assert results["seconds"] == {"train_and_test": 200.0}
    assert results["imported"]["from"].endswith(RUN.format(1))
    made = report(output, datasets=("btmri",))
    assert made.sections[0].title == "Few-shot, BiomedCLIP, imported"
    assert cells(made, "accuracy_btmri")["CoOp"] == ["81.30 ± 0.00"]
    assert not [table for table in made.sections[0].tables if table.key.startswith("ece")]  # logs do not state it
    assert ("imported", "2 runs, read from logs of other code") in made.facts
    assert imported(logs)[0] == 0
    assert "0 runs imported" in capsys.readouterr().out


def test_base_to_new_trees_become_one_run(tmp_path, capsys):
    logs = tmp_path / "output"
    write(logs, f"base2new/train_base/{RUN.format(1)}")
    write(logs, f"base2new/test_new/{RUN.format(1)}", RESULT.replace("1,396", "1,000").replace("81.3", "58.2"))
    write(logs, f"base2new/train_base/{RUN.format(2)}")
    code, output = imported(logs)
    assert code == 2
    assert "its log of the new classes is missing" in capsys.readouterr().err
    metrics = read_results(output / "base2new/btmri/BiomedCLIP/CoOp/16shots/seed1")["metrics"]
    assert {part: round(found["accuracy"], 1) for part, found in metrics.items()} == {"base": 81.3, "new": 58.2}


def test_only_the_test_images_count(tmp_path):
    logs = tmp_path / "logs"
    validation = RESULT.replace("*test*", "*val*").replace("1,396", "1,000").replace("81.3", "58.2")
    write(logs, RUN.format(1), validation + RESULT)
    code, output = imported(logs)
    assert code == 0
    metrics = json.loads(next(output.rglob("results.json")).read_text())["metrics"]["all"]
    assert metrics["correct"] == 1396


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        (RUN.format(1), "epoch [2/100]\n", "the run did not end"),
        (
            RUN.format(1),
            RESULT + RESULT.replace("1,396", "1,395").replace("81.3", "81.2"),
            "2 tests with different results",
        ),
        (RUN.format(1), RESULT.replace("81.3", "91.3"), "is not 1396 of 1717"),
        (RUN.format(1), RESULT + "* accuracy: 81.4%\n", "2 values of accuracy"),
        ("BTMRI/CoOp/seed1/log.txt", RESULT, "its folders are not"),
        ("BTMRI/shots_16/CoOp/rn50/seed1/log.txt", RESULT, "does not end with a backbone"),
    ],
)
def test_what_is_unclear_is_refused(tmp_path, capsys, name, text, reason):
    write(tmp_path / "logs", name, text)
    code, output = imported(tmp_path / "logs")
    assert code == 2
    assert reason in capsys.readouterr().err
    assert not output.exists()


def test_several_configurations_or_attempts_are_refused(tmp_path, capsys):
    logs = tmp_path / "logs"
    write(logs, RUN.format(1))
    write(logs, RUN.format(1).replace("nctx4", "nctx16"))
    code, output = imported(logs)
    assert code == 2
    assert "choose with --config" in capsys.readouterr().err
    assert imported(logs, "--config", "nctx4_ctpend")[0] == 0
    assert len(list(output.rglob("COMPLETE"))) == 1
    write(logs, RUN.format(3))
    write(logs, RUN.format(3) + "-2025-01-01")
    assert imported(logs, "--config", "nctx4_ctpend")[0] == 2
    assert "keep only the log of the attempt to import" in capsys.readouterr().err


def test_another_result_is_not_overwritten(tmp_path, capsys):
    logs = tmp_path / "logs"
    path = write(logs, RUN.format(1))
    assert imported(logs)[0] == 0
    path.write_text(RESULT.replace("1,396", "1,395").replace("81.3", "81.2"))
    assert imported(logs)[0] == 2
    assert "holds another result already" in capsys.readouterr().err


def test_a_backbone_can_be_given(tmp_path):
    write(tmp_path / "logs", "BUSI/shots_4/CoOp/vit_b16/seed1/log.txt")
    code, output = imported(tmp_path / "logs", "--backbone", "CLIP")
    assert code == 0
    assert (output / "few_shot/busi/CLIP/CoOp/4shots/seed1/COMPLETE").is_file()
