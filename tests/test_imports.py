"""The architecture: arrows point down only."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent
ROOMS = {"dassl", "clip", "prompts", "datasets", "trainers", "configs", "sweep", "train", "tools", "tests", "bench"}
MAY_IMPORT = {
    "dassl": set(),
    "clip": {"dassl"},
    "prompts": {"dassl"},
    "datasets": {"dassl"},
    "trainers": {"dassl", "clip", "prompts", "datasets"},
    "configs": {"dassl", "clip", "datasets", "trainers"},
    "sweep": {"dassl", "train"},
    "bench": {"dassl", "clip", "datasets", "trainers", "configs", "sweep", "tools"},
}


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_arrows_point_down(room):
    for path in (PROJECT / room).rglob("*.py"):
        found = {name.split(".")[0] for name in imports(path)} & ROOMS
        assert found <= MAY_IMPORT[room] | {room}, f"{path.relative_to(PROJECT)} imports {found}"


def test_prompts_need_no_torch():
    for path in (PROJECT / "prompts").glob("*.py"):
        assert set(imports(path)) <= {
            "json",
            "collections.abc",
            "dataclasses",
            "pathlib",
            "dassl.errors",
            "prompts.loader",
        }
    assert set(imports(PROJECT / "dassl" / "errors.py")) <= {"collections.abc", "difflib", "sys"}


def test_checking_settings_loads_neither_torchvision_nor_model_libraries():
    slow = {"torchvision", "timm", "open_clip", "transformers", "scipy.ndimage", "scipy.stats", "matplotlib"}
    code = f"import sys, configs.build, sweep.__main__; print(sorted({slow} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_files_fit_in_a_head():
    for path in PROJECT.rglob("*.py"):
        if ".venv" not in path.parts:
            assert len(path.read_text().splitlines()) <= 300, path
    for path in (PROJECT / "trainers").glob("*.py"):
        if "@TRAINER_REGISTRY" in path.read_text():
            assert len(path.read_text().splitlines()) <= 120, path


def test_nothing_is_unpickled():
    for path in PROJECT.rglob("*.py"):
        if ".venv" in path.parts or "tests" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("torch.load", "pickle.load", "np.load"):
                safe = {k.arg: ast.unparse(k.value) for k in node.keywords}
                assert safe.get("weights_only") == "True", f"{path}: {ast.unparse(node)}"
