"""The commands of docs/YOUR_OWN_IMAGES.md, carried out in order, with 40 images and the Tiny backbone."""

import csv
import json
import re
import shlex
import shutil
from pathlib import Path

import pytest

import predict
import train
from biomed_dpt.__main__ import main as toolkit
from tests.conftest import SHARED

PAGE = (Path(__file__).parent.parent / "docs" / "YOUR_OWN_IMAGES.md").read_text()
NOT_RUN = "# not run in the tests"
CLASSES = {"benign_tumor": "solid_nodule_in_fatty_tissue", "malignant_tumor": "stellate_mass_in_fatty_tissue"}


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)


def commands():
    """The commands of the page in their order, as lists of words."""
    for text in blocks("bash"):
        if not text.startswith(NOT_RUN):
            yield from (shlex.split(line) for line in text.replace("\\\n", " ").splitlines())


@pytest.fixture
def images(phantom_root):
    """Files by class folder: real ones where they are, the phantom's otherwise."""
    real = SHARED / "data" / "BUSI" / "BUSI"
    if real.is_dir():
        return {name: sorted(path for path in (real / name).iterdir() if path.is_file()) for name in CLASSES}
    folder = phantom_root / "Phantom" / "Phantom"
    return {name: sorted((folder / phantom).glob("*.png")) for name, phantom in CLASSES.items()}


@pytest.fixture
def own(images, tmp_path, monkeypatch):
    """A folder with 20 images per class, five others, six labelled ones, and the two files of the page."""
    monkeypatch.chdir(tmp_path)
    Path("scans").mkdir()
    rows = [("path", "label")]
    for name, files in images.items():
        folder = Path("DATA/Breast/Breast") / name
        folder.mkdir(parents=True)
        for path in files[:20]:
            shutil.copy(path, folder)
        for path in files[20:23]:
            shutil.copy(path, f"scans/{name}_{path.name}")
        for path in files[23:33]:
            copy = Path(f"labelled/{name}_{path.name}")
            copy.parent.mkdir(exist_ok=True)
            shutil.copy(path, copy)
            rows.append((str(copy), name.replace("_", " ")))
    with open("labelled.csv", "w", newline="") as file:
        csv.writer(file).writerows(rows)
    Path("breast.yaml").write_text(blocks("yaml")[0])
    Path("breast.json").write_text(blocks("json")[0])
    return tmp_path


def carry_out(words):
    words = ["Tiny" if word == "BiomedCLIP" else word for word in words]
    match words:
        case ["python", "train.py", *arguments]:
            return train.main([*arguments, "OPTIM.MAX_EPOCH", "5"])
        case ["python", "predict.py", *arguments]:
            return predict.main(arguments)
        case ["python", "-m", "biomed_dpt", *arguments]:
            return toolkit(arguments)
    raise AssertionError(f"an unknown command: {shlex.join(words)}")


def test_the_page_from_images_to_an_answer(own):
    if not (SHARED / "data").is_dir():
        assert len(list((own / "DATA").rglob("*.png"))) == 40
    done = [words for words in commands() if carry_out(words) == 0]
    assert done == list(commands())
    results = json.loads(Path("run/results.json").read_text())
    assert list(results["metrics"]["all"]["sensitivity"]) == ["benign tumor", "malignant tumor"]
    with open("predictions.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6
    assert {row["predicted"] for row in rows} <= {"benign tumor", "malignant tumor"}
    assert len(list(Path("maps").rglob("*.png"))) == 6
    assert Path("model.onnx").stat().st_size > 0
    with open("sets.csv", newline="") as file:
        assert all("set" in row for row in csv.DictReader(file))
