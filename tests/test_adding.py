"""The examples of the documents, added to a copy of the project, pass the tests that read the registries.

Nothing is touched but the files that the documents name: no list of methods, backbones or data sets is edited.
"""

import json
import shutil

import pytest

from tests import forked
from tests.test_readme import PAGES, PROJECT, block

ADDED = {
    "trainers/taskres.py": ("python", "class TaskRes", "ADDING_A_METHOD.md"),
    "configs/trainers/TaskRes.yaml": ("yaml", "ALPHA", "ADDING_A_METHOD.md"),
    "clip/mymodel.py": ("python", "class MyModel", "BACKBONES.md"),
    "datasets/thyroid.py": ("python", "class Thyroid", "DATASETS.md"),
    "configs/datasets/thyroid.yaml": ("yaml", "NAME: Thyroid", "DATASETS.md"),
}
SENTENCES = {
    "template": "a ultrasound photo of a {} in the thyroid.",
    "classes": {
        name: [f"Ultrasound of a {name} with echo pattern {k}." for k in range(50)]
        for name in ("benign nodule", "malignant nodule")
    },
}
TESTS = [f"tests/test_{name}.py" for name in ("pairs", "every_method", "method_table", "configs", "names", "discovery")]
CHOSEN = "(TaskRes and not PubMedCLIP and not BiomedCLIP) or (MyModel and VPT) or thyroid or names or discovery"


@pytest.fixture
def copy(tmp_path):
    """The files of the project, without the folders that it ignores."""
    ignored = shutil.ignore_patterns(".*", "__pycache__", "output*", "data_root", "example_report")
    shutil.copytree(PROJECT, tmp_path / "project", ignore=ignored)
    return tmp_path / "project"


@pytest.mark.slow
def test_the_examples_pass_the_tests_of_the_registries(copy):
    for name, example in ADDED.items():
        assert not (copy / name).exists()
        (copy / name).write_text(block(*example[:2], PAGES[example[2]]))
    (copy / "prompts" / "thyroid.json").write_text(json.dumps(SENTENCES))
    command = ["-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS, "-k", CHOSEN]
    done = forked.run(*command, log=copy / "said.txt", project=copy)
    assert done.returncode == 0, done.said[-4000:]
    listed = forked.run("train.py", "--list", log=copy / "said.txt", project=copy).said
    assert all(name in listed for name in ("`TaskRes`", "MyModel", "thyroid"))
