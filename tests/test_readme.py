"""The commands, examples and tables of README.md and docs/ agree with the code and with the measured results."""

import csv
import json
import re
import shlex
from pathlib import Path

import pytest
from PIL import Image

import train
from biomed_dpt.__main__ import build_parser as biomed_dpt_parser
from biomed_dpt.predict_command import build_parser as predict_parser
from clip import BACKBONE_REGISTRY
from configs import dataset_names, is_path
from configs.listing import method_table
from dassl.data.datasets import DATASET_REGISTRY
from dassl.engine import TRAINER_REGISTRY
from runs.arguments import build_parser
from sweep.__main__ import build_parser as sweep_parser
from tests.registered import DATASETS, METHODS
from trainers.registry import METHOD_REGISTRY

PROJECT = Path(__file__).resolve().parent.parent
PAGES = {path.name: path.read_text() for path in (PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md")))}
README, ADDING = PAGES["README.md"], PAGES["ADDING_A_METHOD.md"]
NOT_RUN = "# not run in the tests"
REGISTRIES = (TRAINER_REGISTRY, METHOD_REGISTRY, DATASET_REGISTRY, BACKBONE_REGISTRY)


def block(language, beginning, page):
    """The first code block of a language that contains a text."""
    blocks = re.findall(rf"```{language}\n(.*?)```", page, flags=re.DOTALL)
    return next(text for text in blocks if beginning in text)


def commands(page):
    """The commands of a page's bash blocks as lists of words, without the blocks that are marked as not run."""
    for text in re.findall(r"```bash\n(.*?)```", page, flags=re.DOTALL):
        if not text.startswith(NOT_RUN):
            lines = text.replace("\\\n", " ").splitlines()
            yield from (words for line in lines if (words := shlex.split(line, comments=True)))


def parse(words):
    """Parse a command with the parser of its program; exits where that refuses it."""
    match words:
        case ["python", "train.py", *arguments]:
            if arguments[:1] == ["--list"]:
                assert arguments[1:] in [[], *([method] for method in METHODS)]
                return
            args = build_parser().parse_intermixed_args(arguments)
            assert args.trainer.split("_")[0] in METHODS or args.imports
            assert args.backbone is None or args.backbone in BACKBONE_REGISTRY.registered_names()
            assert args.dataset is None or is_path(args.dataset) or args.dataset in dataset_names()
        case ["python", "predict.py", *arguments]:
            predict_parser().parse_intermixed_args(arguments)
        case ["python", "-m", "sweep", command, *arguments]:
            sweep_parser()[1].choices[command].parse_intermixed_args(arguments)
        case ["python", "-m", "biomed_dpt", *arguments]:
            biomed_dpt_parser().parse_args(arguments)
        case ["python", "-m", "datasets.fetch", *arguments]:
            known = [cls.prompts for cls in DATASETS]
            assert [name for name in arguments[: arguments.index("--root")] if name not in known] == []
        case ["bash", script, *_]:
            assert (PROJECT / script).is_file()
        case ["pip", "install", "-r", requirements]:
            assert (PROJECT / requirements).is_file()
        case ["source", ".venv/bin/activate"] | ["ray", "start", *_]:
            pass
        case _:
            raise AssertionError(f"neither checked nor marked with '{NOT_RUN}': {shlex.join(words)}")


@pytest.mark.parametrize("name", PAGES)
def test_commands_are_understood(name):
    for words in commands(PAGES[name]):
        parse(words)


def test_a_wrong_command_is_found():
    wrong = ["python train.py --trainer CoOp --shot-count 3", "python -m sweep run --lancher ray", "pythn train.py"]
    for command in wrong:
        with pytest.raises((AssertionError, SystemExit)):
            parse(shlex.split(command))


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_to_files(name):
    folder = PROJECT if name == "README.md" else PROJECT / "docs"
    targets = [target.split("#")[0] for target in re.findall(r"\]\(([^)]+)\)", PAGES[name]) if "://" not in target]
    assert [target for target in targets if target and not (folder / target).exists()] == []


def test_readme_is_short():
    assert len(README.splitlines()) <= 160


@pytest.fixture
def registries():
    """What the examples register is forgotten afterwards."""
    kept = [(registry, dict(registry._objects)) for registry in REGISTRIES]
    yield
    for registry, objects in kept:
        registry._objects = objects


def test_example_method(registries, monkeypatch, phantom_root, tmp_path):
    exec(block("python", "class TaskRes", ADDING), {"__name__": "taskres"})
    (tmp_path / "TaskRes.yaml").write_text(block("yaml", "ALPHA", ADDING))
    monkeypatch.setattr("configs.names.METHOD_FILES", tmp_path)
    words = ["--trainer", "TaskRes", "--root", str(phantom_root), "--shots", "2", "--output-dir", str(tmp_path / "run")]
    assert train.main([*words, "OPTIM.MAX_EPOCH", "2"]) == 0
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["trainable_parameters"] == 8 * 128
    assert len(results["loss_per_epoch"]) == 2
    assert train.main([*words, "--protocol", "base2new"]) == 2


def thyroid_images(root):
    for name in ("benign_nodule", "malignant_nodule"):
        (root / "Thyroid" / "Thyroid" / name).mkdir(parents=True)
        for k in range(16):
            Image.new("L", (40, 40), 10 * k).save(root / "Thyroid" / "Thyroid" / name / f"{k}.png")


def test_example_data_set(registries, tmp_path):
    thyroid_images(tmp_path)
    exec(block("python", "class Thyroid", PAGES["DATASETS.md"]), {})
    (tmp_path / "thyroid.yaml").write_text(block("yaml", "NAME: Thyroid", PAGES["DATASETS.md"]))
    words = ["--trainer", "ZeroShot", "--root", str(tmp_path), "--output-dir", str(tmp_path / "run"), "--shots", "2"]
    assert train.main([*words, "--dataset-config-file", str(tmp_path / "thyroid.yaml")]) == 0
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert list(results["metrics"]["all"]["sensitivity"]) == ["benign nodule", "malignant nodule"]


@pytest.mark.parametrize("name", ["README.md", "DATASETS.md"])
def test_example_of_own_images(name, tmp_path, monkeypatch):
    """The command of the page, on Tiny instead of BiomedCLIP and for one epoch."""
    thyroid_images(tmp_path / "DATA")
    (tmp_path / "thyroid.yaml").write_text(block("yaml", "NAME: Folder", PAGES[name]))
    (words,) = (words for words in commands(PAGES[name]) if "thyroid.yaml" in words)
    words = ["Tiny" if word == "BiomedCLIP" else word for word in words]
    monkeypatch.chdir(tmp_path)
    assert train.main([*words[2:], "--output-dir", "run", "OPTIM.MAX_EPOCH", "1"]) == 0
    assert (tmp_path / "run" / "COMPLETE").is_file()


def test_example_backbone(registries):
    exec(block("python", "class MyModel", PAGES["BACKBONES.md"]), {})
    assert BACKBONE_REGISTRY.get("MyModel")(str(PROJECT / "clip" / "tiny")).embed_dim == 128


def test_every_registered_name_stands_in_the_documents():
    data_sets, backbones = [cls.prompts for cls in DATASETS], BACKBONE_REGISTRY.registered_names()
    assert [name for name in (*METHODS, *data_sets, *backbones) if f"`{name}`" not in README] == []
    assert [name for name in data_sets if f"| `{name}` |" not in PAGES["DATASETS.md"]] == []
    assert [name for name in backbones if f"| `{name}` |" not in PAGES["BACKBONES.md"]] == []
    assert method_table() in PAGES["REPRODUCTION.md"]


def test_the_table_of_speed_is_the_measured_one():
    with open(PROJECT / "bench" / "results" / "amd-epyc.csv", newline="") as file:
        measured = list(csv.DictReader(file))
    parts = tuple(f"| {row['part']} |" for row in measured)
    shown = [line for line in PAGES["PERFORMANCE.md"].splitlines() if line.startswith(parts)]
    assert shown == [
        f"| {row['part']} | {row['way']} | {float(row['seconds']):.4g} | "
        f"{float(row['times faster than reference']):.1f} |"
        for row in measured
    ]


def cells(line):
    """The cells of a table's row, without the marks of the best ones."""
    return [cell.strip() for cell in line.replace("*", "").strip("|").split("|")]


def result_rows(page):
    """Rows of results: a method, then numbers."""
    return [cells(line) for line in page.splitlines() if line.startswith("|") and cells(line)[0] in METHODS]


def test_the_phantom_tables_are_those_of_the_example_report():
    measured = result_rows((PROJECT / "docs" / "example_report" / "report.md").read_text())
    shown = result_rows(PAGES["RESULTS.md"])
    assert len(shown) == 19 + 15
    assert [row for row in shown if row not in measured] == []


def test_the_readme_shows_a_part_of_the_phantom_table():
    few_shot = {row[0]: row for row in result_rows(PAGES["RESULTS.md"]) if len(row) == 6}
    shown = [row for row in result_rows(README) if len(row) == 4]
    assert len(shown) == 4
    for method, *numbers in shown:
        assert numbers == [few_shot[method][k] for k in (1, 3, 5)]
