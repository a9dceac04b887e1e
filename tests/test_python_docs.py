"""The examples of docs/PYTHON.md and the notebook beside it run, with the Tiny backbone and fewer epochs."""

import json
import re
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest

PROJECT = Path(__file__).resolve().parent.parent
PAGE = (PROJECT / "docs" / "PYTHON.md").read_text(encoding="utf-8")
NOTEBOOK = PROJECT / "docs" / "classify_your_images.ipynb"
CLASSES = {"benign nodule": "cyst_in_fatty_tissue", "malignant nodule": "calcified_cluster_in_fatty_tissue"}
SHORTER = {'"BiomedCLIP"': '"Tiny"', '"OPTIM.MAX_EPOCH": 50': '"OPTIM.MAX_EPOCH": 1', "n_trials=20": "n_trials=2"}


def example(*beginnings):
    """The Python blocks of the page that hold some texts, one after the other, shortened."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    code = "\n".join(next(text for text in blocks if beginning in text) for beginning in beginnings)
    for long, short in SHORTER.items():
        code = code.replace(long, short)
    return code


@pytest.fixture(scope="module")
def after_the_first_example(few_images, tmp_path_factory):
    """The folder, and the names that the first example leaves."""
    folder = tmp_path_factory.mktemp("thyroid")
    for name, source in CLASSES.items():
        (folder / "thyroid" / name).mkdir(parents=True)
        for k in range(9):
            image = few_images / "Phantom" / "Phantom" / source / f"phantom_{k:03d}.png"
            shutil.copy(image, folder / "thyroid" / name / f"{name[0]}{k // 2}_{k}.png")
    shutil.copytree(folder / "thyroid" / "benign nodule", folder / "new")
    sentences = {name: [f"sentence {k} on a {name}" for k in range(50)] for name in CLASSES}
    (folder / "thyroid.json").write_text(json.dumps({"template": "an image of a {}.", "classes": sentences}))
    names: dict = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        if find_spec("biomed_dpt.explain") is None:
            saved = SimpleNamespace(save=lambda path: Path(path).touch())
            patch.setitem(sys.modules, "biomed_dpt.explain", SimpleNamespace(explain=lambda *words: saved))
        exec(example("model.save("), names)
    return folder, names


def test_the_first_example(after_the_first_example, monkeypatch):
    folder, names = after_the_first_example
    monkeypatch.chdir(folder)
    assert (folder / "map.png").is_file()
    assert (folder / "thyroid-model" / "bundle.json").is_file()
    assert names["features"].shape == (9, 128)
    assert names["texts"].shape == (1, 128)
    assert names["model"].bundle_.calibration["fitted_on"] == "validation shots"
    assert names["model"].predict(names["new"]).shape == (9,)


def run_example(after_the_first_example, monkeypatch, beginning):
    folder, names = after_the_first_example
    monkeypatch.chdir(folder)
    names = {**names, "model": names["model"].set_params(prompts="thyroid.json", verbose=0)}
    exec(example(beginning), names)
    return folder, names


def test_the_example_of_cross_validation(after_the_first_example, monkeypatch):
    _, names = run_example(after_the_first_example, monkeypatch, "cross_val_score")
    assert names["scores"].shape == (3,)


def test_the_example_of_tensorboard(after_the_first_example, monkeypatch):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed (requirements-examples.txt)")
    folder, _ = run_example(after_the_first_example, monkeypatch, "SummaryWriter")
    (events,) = (folder / "tensorboard").iterdir()
    assert b"validation_accuracy" in events.read_bytes()


def test_the_example_of_optuna(after_the_first_example, monkeypatch):
    pytest.importorskip("optuna", reason="optuna is not installed (requirements-examples.txt)")
    _, names = run_example(after_the_first_example, monkeypatch, "optuna")
    assert names["study"].best_params.keys() == {"lr", "l1_lambda"}
    assert len(names["study"].trials) == 2


def test_the_notebook(monkeypatch, capsys):
    """The cells run in IPython, as in a kernel, but in this process: a kernel would import torch for seconds."""
    reason = "IPython and nbformat are not installed (requirements-examples.txt)"
    nbformat = pytest.importorskip("nbformat", reason=reason)
    interactive = pytest.importorskip("IPython.core.interactiveshell", reason=reason)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    assert not any(cell.get("outputs") for cell in notebook.cells)
    monkeypatch.chdir(PROJECT)
    shell = interactive.InteractiveShell()
    shell.history_manager.enabled = False
    for cell in notebook.cells:
        if cell.cell_type == "code":
            shell.run_cell(cell.source).raise_error()
    found = capsys.readouterr().out
    assert "epoch 5: loss" in found
    assert "'validation shots'" in found
    assert "True" in found
