"""The metrics of the code, on a small tree."""

import subprocess
import sys
from pathlib import Path

import pytest

from tools import code_metrics

PROJECT = Path(__file__).resolve().parent.parent
FILES = {
    "dassl/base.py": "import os\n",
    "clip/__init__.py": "from clip.tower import Tower\n",
    "clip/tower.py": "from dassl import base\n\nclass Tower: ...\n",
    "trainers/method.py": "from torch import nn\nimport clip\n\nclass Method(nn.Module): ...\nclass Other: ...\n",
    "trainers/coop.py": "from .method import Method\n\nclass CoOp(Method): ...\nclass Plain(Other): ...\n",
    "trainers/dpt.py": "from trainers.coop import CoOp\n\n\nclass DPT(CoOp, Other):\n    value = 1\n    value = 1\n",
    "train.py": "from trainers.method import Method\n",
    "tests/test_all.py": "import train\n",
    "configs/trainers/a.yaml": "common: {A: 1}\n\nfew_shot: {B: 2}\n",
    "configs/trainers/b.yaml": "common: {A: 1}\n  few_shot: {B: 3}\n",
    "README.md": "one\ntwo\n",
}


@pytest.fixture
def tree(tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def add(tree, name, text):
    with open(tree / name, "a") as file:
        file.write(text)


def test_numbers_of_a_small_tree(tree):
    found = code_metrics.numbers(tree)
    assert {name: value for name, (value, _) in found.items()} == {
        code_metrics.REPEATED_CONFIGS: 25.0,  # one of four lines
        code_metrics.REPEATED: 9.1,  # one of 11
        code_metrics.REPEATED_BODIES: 50.0,  # one of two
        code_metrics.LONG: 0,
        code_metrics.LONGEST: 6,
        code_metrics.DEPTH: 3,
        code_metrics.CIRCLES: 0,
        code_metrics.UPWARD: 0,
        code_metrics.README: 2,
    }
    assert found[code_metrics.DEPTH][1] == "DPT"
    assert found[code_metrics.LONGEST][1] == "trainers/dpt.py"


def test_import_graph_resolves_modules_names_and_relative_imports(tree):
    assert code_metrics.import_graph(tree) == {
        "dassl/base.py": set(),
        "clip/__init__.py": {"clip/tower.py"},
        "clip/tower.py": {"dassl/base.py"},
        "trainers/method.py": {"clip/__init__.py"},
        "trainers/coop.py": {"trainers/method.py"},
        "trainers/dpt.py": {"trainers/coop.py"},
        "train.py": {"trainers/method.py"},
        "tests/test_all.py": {"train.py"},
    }


def test_imports_within_functions_make_circles(tree):
    add(tree, "trainers/method.py", "def f():\n    from trainers.dpt import DPT\n")
    circle = ["trainers/coop.py", "trainers/dpt.py", "trainers/method.py"]
    assert code_metrics.circles(code_metrics.import_graph(tree)) == [circle]
    assert code_metrics.numbers(tree)[code_metrics.CIRCLES] == (1, " - ".join(circle))


def test_upward_imports(tree):
    add(tree, "clip/tower.py", "import train, tests.test_all\n")
    add(tree, "dassl/base.py", "from clip import Tower\n")
    found = code_metrics.upward(code_metrics.import_graph(tree))
    assert found == [("clip/tower.py", "train.py"), ("dassl/base.py", "clip/__init__.py")]


def test_bodies_have_no_imports_decorators_or_signatures():
    source = "from a import (\n    b,\n)\n\n@b\n@b.c(\n    1,\n)\ndef f(\n    x,\n) -> int:\n"
    source += '    """One.\n\n    """\n    return x\n'
    assert [line.strip() for line in code_metrics.body_lines(source)] == ["", '"""One.', "", "return x"]


@pytest.mark.parametrize(("limit", "code"), [(25.1, 0), (25, 1)])
def test_the_command_fails_if_a_limit_is_broken(tree, monkeypatch, capsys, limit, code):
    limits = {code_metrics.REPEATED_BODIES: 50, code_metrics.REPEATED_CONFIGS: limit}
    monkeypatch.setattr(code_metrics, "PROJECT", tree)
    monkeypatch.setattr(code_metrics, "LIMITS", code_metrics.LIMITS | limits)
    assert code_metrics.main() == code
    assert ("broken" in capsys.readouterr().out) == bool(code)


def test_it_needs_no_torch():
    code = "import sys, tools.code_metrics; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
