"""The README's examples run as they stand."""

import csv
import json
import re
from pathlib import Path

import pytest
from PIL import Image

import train
from clip import BACKBONE_REGISTRY
from configs.listing import method_table
from dassl.data.datasets import DATASET_REGISTRY
from dassl.engine import TRAINER_REGISTRY
from tests.registered import DATASETS

PROJECT = Path(__file__).resolve().parent.parent
README = (PROJECT / "README.md").read_text()
ADDING = (PROJECT / "docs" / "ADDING_A_METHOD.md").read_text()


def block(language, beginning, page=README):
    """The first code block of a language that holds a text."""
    blocks = re.findall(rf"```{language}\n(.*?)```", page, flags=re.DOTALL)
    return next(text for text in blocks if beginning in text)


@pytest.fixture
def registries():
    """What the examples register is forgotten afterwards."""
    kept = [(registry, dict(registry._objects)) for registry in (TRAINER_REGISTRY, DATASET_REGISTRY, BACKBONE_REGISTRY)]
    yield
    for registry, objects in kept:
        registry._objects = objects


def test_example_method(registries, phantom_root, tmp_path):
    exec(block("python", "class TaskRes", ADDING), {})
    (tmp_path / "few_shot.yaml").write_text(
        block("yaml", "BATCH_SIZE: 32", ADDING) + "INPUT:\n  TRANSFORMS: [normalize]\n"
    )
    words = ["--trainer", "TaskRes", "--root", str(phantom_root), "--shots", "2", "--output-dir", str(tmp_path / "run")]
    assert train.main([*words, "--config-file", str(tmp_path / "few_shot.yaml"), "OPTIM.MAX_EPOCH", "2"]) == 0
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["trainable_parameters"] == 8 * 128
    assert len(results["loss_per_epoch"]) == 2
    refused = [*words, "--protocol", "base2new", "--config-file", str(tmp_path / "few_shot.yaml")]
    assert train.main(refused) == 2


def thyroid_images(root):
    for name in ("benign_nodule", "malignant_nodule"):
        (root / "Thyroid" / "Thyroid" / name).mkdir(parents=True)
        for k in range(8):
            Image.new("L", (40, 40), 10 * k).save(root / "Thyroid" / "Thyroid" / name / f"{k}.png")


def test_example_data_set(registries, tmp_path):
    thyroid_images(tmp_path)
    exec(block("python", "class Thyroid"), {})
    (tmp_path / "thyroid.yaml").write_text(block("yaml", "NAME: Thyroid"))
    words = ["--trainer", "ZeroShot", "--root", str(tmp_path), "--output-dir", str(tmp_path / "run"), "--shots", "2"]
    assert train.main([*words, "--dataset-config-file", str(tmp_path / "thyroid.yaml")]) == 0
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert list(results["metrics"]["all"]["per_class_accuracy"]) == ["benign nodule", "malignant nodule"]


def test_example_of_own_images(tmp_path):
    thyroid_images(tmp_path)
    (tmp_path / "thyroid.yaml").write_text(block("yaml", "NAME: Folder"))
    words = ["--trainer", "CoOp", "--root", str(tmp_path), "--output-dir", str(tmp_path / "run"), "--shots", "4"]
    assert train.main([*words, "--dataset-config-file", str(tmp_path / "thyroid.yaml"), "OPTIM.MAX_EPOCH", "1"]) == 0


def test_example_backbone(registries):
    exec(block("python", "class MyModel"), {})
    path = Path(__file__).resolve().parent.parent / "clip" / "tiny"
    assert BACKBONE_REGISTRY.get("MyModel")(str(path)).embed_dim == 128


def test_every_registered_name_stands_in_the_tables():
    names = [*BACKBONE_REGISTRY.registered_names(), *(cls.prompts for cls in DATASETS)]
    assert [name for name in names if f"| `{name}` |" not in README] == []
    assert method_table() in README


def test_the_table_of_speed_is_the_measured_one():
    with open(PROJECT / "bench" / "results" / "amd-epyc.csv", newline="") as file:
        measured = list(csv.DictReader(file))
    shown = [line for line in README.splitlines() if any(line.startswith(f"| {row['part']} |") for row in measured)]
    assert shown == [
        f"| {row['part']} | {row['way']} | {float(row['seconds']):.4g} | "
        f"{float(row['times faster than reference']):.1f} |"
        for row in measured
    ]


def test_the_phantom_tables_are_those_of_the_example_report():
    rows = (PROJECT / "docs" / "example_report" / "report.md").read_text().splitlines()
    shown = {tuple(re.findall(r"[\w.]+(?: ± [\d.]+)?", row.replace("*", ""))) for row in rows}
    text = README[README.index("## What the embedded default gives") : README.index("It is a phantom")]
    found = re.findall(r"^\| ([A-Z]\w+ +\|.*\d) +\|$", text, flags=re.M)
    assert len(found) == 19 + 15
    for row in found:
        assert tuple(part.strip() for part in row.split("|")) in shown, row
