"""Trainers and data sets in a user's own files: --import, and yaml files given by their path."""

import json
import sys
from pathlib import Path

import pytest

import train
from dassl.data.datasets import DATASET_REGISTRY
from dassl.engine import TRAINER_REGISTRY
from dassl.errors import InputError
from runs.folder import is_complete
from runs.run import Run
from sweep.__main__ import build_parser, main
from sweep.arguments import grids_and_options
from tests import (
    coop_style,
    forked,
    registered,  # noqa: F401 - the project's own classes are registered before the registries are copied
)

PROJECT = Path(__file__).resolve().parent.parent
FAST = ["OPTIM.MAX_EPOCH", "3", "DATALOADER.NUM_WORKERS", "0"]


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A folder with images, shades.yaml, and own.py: tests/coop_style.py with names that are free in this process."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    kept = [(registry, dict(registry._objects)) for registry in (TRAINER_REGISTRY, DATASET_REGISTRY)]
    coop_style.make_images(tmp_path)
    text = Path(coop_style.__file__).read_text().replace("MeanColour", "OwnTrainer")
    text = text.replace("MEANCOLOUR", "OWNTRAINER").replace("Shades", "OwnShades")
    (tmp_path / "own.py").write_text(text.replace("def extend_cfg", "import beside_own\n\n\ndef extend_cfg"))
    (tmp_path / "beside_own.py").touch()
    (tmp_path / "own-shades.yaml").write_text("DATASET:\n  NAME: OwnShades\n")
    yield tmp_path
    for registry, objects in kept:
        registry._objects = objects
    for name in ("imported_own", "beside_own"):
        sys.modules.pop(name, None)


def words(own, *more):
    words = ["--import", own / "own.py", "--trainer", "OwnTrainer", "--dataset", own / "own-shades.yaml"]
    return [*map(str, [*words, "--root", own, "--shots", 4, "--output-dir", own / "run", *more]), *FAST]


def test_a_dassl_trainer_and_data_set_leave_results_like_any_other(own, capsys):
    assert train.main(words(own)) == 0
    results = json.loads((own / "run" / "results.json").read_text())
    assert is_complete(own / "run")
    assert (results["method"], results["dataset"], results["shots"]) == ("OwnTrainer", "own-shades", 4)
    assert results["metrics"]["all"]["total"] == 30
    assert results["trainable_parameters"] == 12
    assert results["images"] == {}
    assert len(results["loss_per_epoch"]) == 3
    log = (own / "run" / "log.txt").read_text()
    assert f"* accuracy: {results['metrics']['all']['accuracy']:.1f}%" in log
    assert "OwnTrainer is a Dassl trainer: no bundle is written, and predict.py cannot use this run" in log
    assert not (own / "run" / "bundle").exists()
    capsys.readouterr()
    assert train.main(words(own)) == 0
    assert "complete already: OwnTrainer on own-shades" in capsys.readouterr().out
    test = ("--eval-only", "--model-dir", own / "run", "--load-epoch", 3, "--output-dir", own / "test")
    assert train.main(words(own, *test)) == 0
    assert (own / "test" / "predictions.csv").read_text() == (own / "run" / "predictions.csv").read_text()
    assert f"accuracy {results['metrics']['all']['accuracy']:.2f} %" in capsys.readouterr().out
    assert train.main(words(own, "TRAINER.OWNTRAINER.PREC", "fp16")) == 2
    assert '-TRAINER.OWNTRAINER.PREC: "fp32"\n+TRAINER.OWNTRAINER.PREC: "fp16"' in capsys.readouterr().err
    assert train.main(words(own, "--protocol", "base2new")) == 2
    assert "needs a method of this project" in capsys.readouterr().err


def test_a_sweep_imports_files_and_takes_paths_of_yaml_files(own, capsys):
    options = [
        "--import",
        own / "own.py",
        "--datasets",
        own / "own-shades.yaml",
        "--root",
        own,
        "--output",
        own / "out",
    ]
    command = ["run", *map(str, options), "--methods", "OwnTrainer", "--shots", "2", "--seeds", "1,2", *FAST]
    assert main(command) == 0
    run = Run("few_shot", "own-shades", "Tiny", "OwnTrainer", 2, 1)
    assert is_complete(run.folder(own / "out"))
    assert "| OwnTrainer |" in capsys.readouterr().out


def test_yaml_files_and_names_of_data_sets_in_one_sweep(tmp_path):
    def grid(datasets):
        words = ["--datasets", datasets, "--output", str(tmp_path / "out")]
        return grids_and_options(build_parser()[1].choices["run"].parse_intermixed_args(words))

    thyroid, kidney = tmp_path / "thyroid.yaml", tmp_path / "more" / "kidney.yml"
    (axes,), options = grid(f"{thyroid},busi,{kidney},{thyroid}")
    assert axes.datasets == ("thyroid", "busi", "kidney")
    assert dict(options.dataset_files) == {"thyroid": str(thyroid), "kidney": str(kidney)}
    run = Run("few_shot", "thyroid", "Tiny", "CoOp", 1, 1)
    command = options.command(run)
    assert command[command.index("--dataset") + 1] == str(thyroid)
    assert run.folder(tmp_path / "out").parts[-5] == "thyroid"
    with pytest.raises(InputError, match="two data sets are named 'busi'; rename the yaml file of one"):
        grid(f"busi,{tmp_path / 'busi.yaml'}")


def test_the_command_line_imports_coop_style_code(own):
    (own / "shades.yaml").write_text("DATASET:\n  NAME: Shades\n")
    command = ["--import", "tests/coop_style.py", "--trainer", "MeanColour", "--root", str(own), *FAST]
    command += ["--dataset-config-file", str(own / "shades.yaml"), "--shots", "4", "--output-dir", str(own / "run")]
    done = forked.run("train.py", *command, log=own / "said.txt")
    assert done.returncode == 0, done.said
    assert json.loads((own / "run" / "results.json").read_text())["method"] == "MeanColour"
    assert is_complete(own / "run")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is no file"),
        ("x = 1\ny = = 2\n", "line 2: SyntaxError"),
        ("import nothing_of_this_name\n", "line 1: ModuleNotFoundError"),
        ("x = 1\n\nraise KeyError('gone')\n", "line 3: KeyError"),
    ],
)
def test_a_file_that_cannot_be_imported_is_named(own, capsys, content, message):
    path = own / "bad.py"
    if content is not None:
        path.write_text(content)
    assert train.main(["--import", str(path), "--trainer", "CoOp"]) == 2
    printed = capsys.readouterr().err
    assert str(path) in printed
    assert message in printed


def test_a_yaml_file_must_have_a_name_for_a_folder(own, capsys):
    for name in (".yaml", ".hidden.yaml", "what?.yaml", "a\nb.yaml"):
        assert train.main(["--trainer", "CoOp", "--dataset", str(own / name)]) == 2
        assert "named after this file; rename it" in capsys.readouterr().err
    (own / "more").mkdir()
    (own / "more" / "own-shades.yaml").write_text("DATASET:\n  NAME: OwnShades\n")
    both = f"{own / 'own-shades.yaml'},{own / 'more' / 'own-shades.yaml'}"
    assert main(["run", "--datasets", both, "--output", str(own / "out")]) == 2
    assert "two data sets are named 'own-shades'" in capsys.readouterr().err
