"""The architecture: imports point down only, and no files import each other in a circle."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

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
    "sweep": {"dassl", "configs", "runs"},
    "train": {"dassl", "configs", "runs"},
    "tools": {"dassl", "clip", "prompts", "datasets"},
    "scripts": set(),
    "bench": {"dassl", "clip", "prompts", "datasets", "trainers", "configs", "runs", "sweep", "tools"},
}
BELOW["tests"] = {*BELOW}


def project_files():
    """Every Python file of the project by its module name."""
    found = [*PROJECT.glob("*.py"), *(path for room in BELOW for path in (PROJECT / room).rglob("*.py"))]
    return {module_name(path): path for path in found}


def module_name(path):
    parts = path.relative_to(PROJECT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path):
    """The names that a file imports, also inside functions and for type checkers; `from a import b` gives a and a.b."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def import_graph(files):
    """The modules of the project that each module imports."""
    graph = {}
    for name, path in files.items():
        graph[name] = {found for found in imports(path) if found in files and found != name}
        # `from room import name` runs the room's __init__; what a package imports from its own files is no circle.
        graph[name] -= {found for found in graph[name] if name.startswith(f"{found}.")}
    return graph


def circles(graph):
    """The strongly connected components with more than one module (Tarjan)."""
    index, low, stack, found = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in graph[node]:
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            at = stack.index(node)
            component = stack[at:]
            del stack[at:]
            if len(component) > 1:
                found.append(sorted(component))

    for node in graph:
        if node not in index:
            visit(node)
    return found


def test_every_room_and_top_level_file_has_a_row():
    if shutil.which("git") is None or not (PROJECT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=PROJECT, capture_output=True, text=True, check=True)
    tracked = listed.stdout.split()
    assert {Path(name).parts[0].removesuffix(".py") for name in tracked} == set(BELOW)


@pytest.mark.parametrize("room", BELOW)
def test_imports_point_down(room):
    for name, path in project_files().items():
        if name.split(".")[0] == room:
            found = {other.split(".")[0] for other in imports(path)} & set(BELOW)
            assert found <= BELOW[room] | {room}, f"{path.relative_to(PROJECT)} imports {found - BELOW[room] - {room}}"


def test_no_room_may_import_one_that_may_import_it():
    for room, below in BELOW.items():
        assert not [other for other in below - {"tests"} if room in BELOW[other] and room != other]


def test_no_files_import_each_other_in_a_circle():
    assert circles(import_graph(project_files())) == []


def test_circles_are_found():
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set(), "e": {"a", "f"}, "f": {"e"}}
    assert sorted(circles(graph)) == [["b", "c"], ["e", "f"]]


def test_the_graph_sees_imports_inside_functions():
    graph = import_graph(project_files())
    assert {"configs", "runs.plain"} <= graph["runs.arguments"]
    assert {"runs.arguments", "runs.execute"} <= graph["sweep.launchers.attempt"]


def test_prompts_need_no_torch():
    for path in (PROJECT / "prompts").glob("*.py"):
        found = {name.split(".")[0] for name in imports(path)}
        assert found <= {"collections", "dassl", "dataclasses", "hashlib", "json", "pathlib", "prompts"}
        assert {name for name in imports(path) if name.startswith("dassl")} <= {
            "dassl.errors", "dassl.errors.InputError", "dassl.errors.unknown_name",
        }  # fmt: skip
    assert {name.split(".")[0] for name in imports(PROJECT / "dassl" / "errors.py")} <= {
        "collections", "difflib", "sys",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("modules", "slow"),
    [
        ("runs.run, runs.folder, runs.results, runs.lock, runs.arguments, runs.execute, sweep.__main__", "torch"),
        ("configs.build", "torchvision timm open_clip transformers scipy.ndimage scipy.stats matplotlib"),
    ],
)
def test_commands_load_no_slow_libraries_before_they_need_them(modules, slow):
    code = f"import sys, {modules}; print(sorted(set({slow.split()}) & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_files_are_short():
    for path in project_files().values():
        assert len(path.read_text().splitlines()) <= 300, path
    for path in (PROJECT / "trainers").glob("*.py"):
        if "@TRAINER_REGISTRY" in path.read_text():
            assert len(path.read_text().splitlines()) <= 120, path


def test_nothing_is_unpickled():
    for path in project_files().values():
        if "tests" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("torch.load", "pickle.load", "np.load"):
                safe = {k.arg: ast.unparse(k.value) for k in node.keywords}
                assert safe.get("weights_only") == "True", f"{path}: {ast.unparse(node)}"
