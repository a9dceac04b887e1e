"""The architecture: imports point down only, and no files import each other in a circle."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tools.code_metrics import circles, import_graph, upward

PROJECT = Path(__file__).resolve().parent.parent
# The rooms and top-level files, and what each may import besides itself; "tests" may import everything.
BELOW = {
    "dassl": set(),
    "prompts": {"dassl"},
    "clip": {"dassl"},
    "datasets": {"dassl"},
    "trainers": {"dassl", "clip", "prompts", "datasets"},
    "configs": {"dassl", "clip", "prompts", "datasets", "trainers"},
    "runs": {"dassl", "clip", "prompts", "datasets", "trainers", "configs"},
    "biomed_dpt": {"dassl", "clip", "prompts", "datasets", "trainers", "configs", "runs"},
    "sweep": {"dassl", "configs", "runs"},
    "evidence": {"dassl", "clip", "prompts", "datasets", "trainers", "configs", "runs", "biomed_dpt", "sweep"},
    "train": {"dassl", "configs", "runs"},
    "predict": {"dassl", "biomed_dpt"},
    "tools": {"dassl", "clip", "prompts", "datasets"},
    "scripts": set(),
}
BELOW["bench"] = {*BELOW["evidence"], "tools", "evidence"}
BELOW["tests"] = {*BELOW}


GRAPH = import_graph(PROJECT)


def room_of(file):
    return file.partition("/")[0].removesuffix(".py")


def test_every_room_and_top_level_file_has_a_row():
    if shutil.which("git") is None or not (PROJECT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=PROJECT, capture_output=True, text=True, check=True)
    tracked = listed.stdout.split()
    assert {Path(name).parts[0].removesuffix(".py") for name in tracked} == set(BELOW)


@pytest.mark.parametrize("room", BELOW)
def test_imports_point_down(room):
    for file, imported in GRAPH.items():
        if room_of(file) == room:
            found = {room_of(other) for other in imported} - {room}
            assert found <= BELOW[room], f"{file} imports {found - BELOW[room]}"
    assert [pair for pair in upward(GRAPH) if room_of(pair[0]) == room] == []


def test_no_room_may_import_one_that_may_import_it():
    for room, below in BELOW.items():
        assert not [other for other in below - {"tests"} if room in BELOW[other] and room != other]


def test_no_files_import_each_other_in_a_circle():
    assert circles(GRAPH) == []


def test_the_graph_sees_imports_inside_functions():
    assert {"configs/__init__.py", "runs/plain.py"} <= GRAPH["runs/arguments.py"]
    assert {"runs/arguments.py", "runs/execute.py"} <= GRAPH["sweep/launchers/attempt.py"]


def test_prompts_import_errors_only():
    for file in GRAPH:
        if room_of(file) == "prompts":
            assert {other for other in GRAPH[file] if room_of(other) == "dassl"} <= {"dassl/errors.py"}


@pytest.mark.parametrize(
    ("modules", "slow"),
    [
        ("runs.run, runs.folder, runs.results, runs.lock, runs.arguments, runs.execute, sweep.__main__", "torch"),
        ("prompts, configs, configs.names", "torch"),
        ("predict", "torch"),
        ("configs.build", "torchvision timm open_clip transformers scipy.ndimage scipy.stats matplotlib"),
    ],
)
def test_commands_load_no_slow_libraries_before_they_need_them(modules, slow):
    code = f"import sys, {modules}; print(sorted(set({slow.split()}) & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_files_are_short():
    for file in GRAPH:
        lines = (PROJECT / file).read_text().splitlines()
        assert len(lines) <= 300, file
        if room_of(file) == "trainers" and "@register_method" in lines:
            assert len(lines) <= 120, file


def test_nothing_is_unpickled():
    for file in GRAPH:
        if room_of(file) == "tests":
            continue
        for node in ast.walk(ast.parse((PROJECT / file).read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("torch.load", "pickle.load", "np.load"):
                safe = {k.arg: ast.unparse(k.value) for k in node.keywords}
                assert safe.get("weights_only") == "True", f"{file}: {ast.unparse(node)}"
