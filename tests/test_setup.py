"""scripts/environment.sh on machines in all states, with stand-ins for python, pip and uv; and the packaging."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent

TOOLS = ("bash", "cat", "cp", "cut", "dirname", "env", "find", "grep")
TOOLS += ("mkdir", "mktemp", "rm", "sed", "sleep", "tail", "touch")

# A Python that has the packages if the file "packages" lies beside it, and that makes copies of itself as environments.
PYTHON = """#!/usr/bin/env bash
here=$(cd "$(dirname "$0")" && pwd)
case "$1 $2" in
    "-c "*) exit ${OLD:-0} ;;
    "scripts/check_requirements.py "*)
        [ -e "$here/packages" ] || { echo "torch>=2.11 is not installed" >&2; exit 1; } ;;
    "scripts/forget_damaged.py "*) echo "checked the packages" ;;
    "-m venv")
        mkdir -p "$3/bin"
        cp "$0" "$3/bin/python"
        touch "$3/pyvenv.cfg"
        [ -z "$NO_ENSUREPIP" ] || exit 1
        touch "$3/bin/pip" ;;
    "-m ensurepip") [ -z "$NO_ENSUREPIP" ] && touch "$here/pip" ;;
    "-m pip")
        [ -e "$here/pip" ] || exit 1
        [ "$3" != --version ] || exit 0
        echo "$@" >>"$LOG"
        echo "  Downloading torch (532 MB)"
        eval "$DURING"
        [ -z "$PIP_FAILS" ] || exit 1
        touch "$here/packages" ;;
    "--version ") echo "Python 3.12.0" ;;
    *) echo "unexpected: $*" >&2; exit 99 ;;
esac
"""
UV = """#!/usr/bin/env bash
echo "uv $*" >>"$LOG"
case $1 in
    venv) python3 -m venv .venv ;;
    pip) [ -z "$UV_FAILS" ] && touch .venv/bin/packages ;;
esac
"""


@pytest.fixture
def machine(tmp_path):
    """A copy of the scripts, and a PATH with stand-ins; run(…) sources environment.sh and prints $PYTHON."""

    class Machine:
        project, bin, log = tmp_path / "project", tmp_path / "bin", tmp_path / "log"
        venv = project / ".venv"
        out = tmp_path / "out"

        def add(self, name, text):
            path = self.bin / name
            path.write_text(text)
            path.chmod(0o755)
            return path

        def run(self, **environment):
            command = 'set -euo pipefail; source scripts/environment.sh; echo "python: $PYTHON"'
            with open(self.out, "w") as out:
                done = subprocess.run(
                    ["bash", "-c", command],
                    cwd=self.project,
                    env={"PATH": str(self.bin), "LOG": str(self.log), "OUT": str(self.out), **environment},
                    stdout=out,
                    stderr=subprocess.PIPE,
                    text=True,
                    timeout=60,
                )
            done.stdout = self.out.read_text()
            return done

        @property
        def installed(self):
            return self.log.read_text() if self.log.exists() else ""

    (tmp_path / "bin").mkdir()
    for name in TOOLS:  # and no other: neither the real machine's Pythons nor its uv
        (tmp_path / "bin" / name).symlink_to(shutil.which(name))
    shutil.copytree(PROJECT / "scripts", tmp_path / "project" / "scripts")
    made = Machine()
    made.add("python3", PYTHON)
    return made


def test_the_active_python_is_used_if_it_has_the_packages(machine):
    (machine.bin / "packages").touch()
    done = machine.run()
    assert (done.returncode, done.stdout, machine.installed) == (0, "python: python3\n", "")


def test_a_fresh_machine(machine):
    done = machine.run()
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("python: .venv/bin/python\n")
    assert "-r requirements.txt" in machine.installed
    assert not (machine.venv / "installing").exists()
    again = machine.run()
    assert (again.stdout, len(machine.installed.splitlines())) == ("python: .venv/bin/python\n", 1)


def test_progress_is_reported(machine):
    """The installer goes on only after its latest line was reported."""
    wait = 'until grep -q "s: Downloading torch (532 MB)" "$OUT"; do sleep 0.1; done'
    done = machine.run(DURING=wait, PROGRESS_SECONDS="1")
    assert done.returncode == 0, done.stderr


def test_an_interrupted_installation_is_repaired(machine):
    failed = machine.run(PIP_FAILS="1")
    assert failed.returncode == 1
    assert "Downloading torch" in failed.stderr
    assert ".venv/install.log" in failed.stderr
    (machine.venv / "bin" / "packages").touch()  # all packages count as installed
    done = machine.run()
    assert done.returncode == 0, done.stderr
    assert "checked the packages" in done.stdout
    assert len(machine.installed.splitlines()) == 2


def test_an_environment_without_pip_is_refused_and_then_repaired(machine):
    for _ in range(2):
        refused = machine.run(NO_ENSUREPIP="1")
        assert refused.returncode == 2
        assert "apt-get install python3-venv" in refused.stderr
    done = machine.run()
    assert done.returncode == 0, done.stderr


def test_an_environment_that_does_not_run_is_made_again(machine):
    (machine.venv / "bin").mkdir(parents=True)
    (machine.venv / "bin" / "python").symlink_to("/nowhere/python3")
    (machine.venv / "pyvenv.cfg").touch()
    done = machine.run()
    assert done.returncode == 0, done.stderr
    assert "made again" in done.stdout


def test_a_folder_that_is_no_environment_is_kept(machine):
    machine.venv.mkdir()
    (machine.venv / "notes.txt").write_text("mine")
    done = machine.run()
    assert done.returncode == 2
    assert "move it away" in done.stderr
    assert (machine.venv / "notes.txt").read_text() == "mine"


def test_uv_is_used_where_it_is_installed(machine):
    machine.add("uv", UV)
    done = machine.run()
    assert done.returncode == 0, done.stderr
    assert [line.split()[:2] for line in machine.installed.splitlines()] == [["uv", "venv"], ["uv", "pip"]]


def test_pip_is_tried_where_uv_fails(machine):
    machine.add("uv", UV)
    done = machine.run(UV_FAILS="1")
    assert done.returncode == 0, done.stderr
    assert "trying pip" in done.stdout
    assert machine.installed.splitlines()[-1].startswith("-m pip install")


@pytest.mark.parametrize("name", ["python9", "/absolute", "relative"])
def test_python_of_the_user_installs_nothing(machine, name):
    mine = machine.add("python9", PYTHON)
    python = {"/absolute": str(mine), "relative": "../bin/python9"}.get(name, name)
    refused = machine.run(PYTHON=python)
    assert refused.returncode == 2
    assert "torch>=2.11 is not installed" in refused.stderr
    (machine.bin / "packages").touch()
    done = machine.run(PYTHON=python)
    assert (done.returncode, machine.installed) == (0, "")
    assert done.stdout.rstrip().endswith("python9")
    assert not machine.venv.exists()


def test_a_machine_without_a_new_python_is_told(machine):
    assert "Python 3.11 or newer is needed" in machine.run(OLD="1").stderr


def test_missing_and_old_packages_are_all_named(tmp_path):
    shutil.copytree(PROJECT / "scripts", tmp_path / "scripts")
    (tmp_path / "some.txt").write_text("pytest>=1  # here\nno-such-package>=1\n\n# a comment\npytest-xdist>=900\n")
    words = [sys.executable, tmp_path / "scripts" / "check_requirements.py", "some.txt"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 1
    assert "no-such-package>=1 is not installed; pytest-xdist>=900 is needed, " in done.stderr


def test_damaged_packages_are_forgotten(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(PROJECT / "scripts"))
    import forget_damaged

    for name, size in {"whole": 5, "cut": 9, "unfinished": None}.items():
        (tmp_path / f"{name}.py").write_text("x = 1")
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        if size:
            (info / "RECORD").write_text(f"{name}.py,sha256=abc,{size}\n{name}-1.0.dist-info/RECORD,,\n")
    monkeypatch.setattr(forget_damaged.sysconfig, "get_path", lambda name: str(tmp_path))
    forget_damaged.main()
    assert [path.name for path in tmp_path.glob("*.dist-info")] == ["whole-1.0.dist-info"]


def test_each_dependency_is_listed_once():
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    dynamic = project["tool"]["setuptools"]["dynamic"]
    files = [
        *dynamic["dependencies"]["file"],
        *(f for e in dynamic["optional-dependencies"].values() for f in e["file"]),
    ]
    assert sorted(files) == sorted(path.name for path in PROJECT.glob("requirements*.txt"))
    lines = [line.split("#")[0].strip() for file in files for line in (PROJECT / file).read_text().splitlines()]
    names = [line.split(">=")[0] for line in lines if line]
    assert len(names) == len(set(names))


def test_every_folder_of_code_is_installed():
    """pip install finds each top-level package, and the data files in it."""
    find = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["setuptools"]
    rooms = {path.parent.name for path in PROJECT.glob("*/__init__.py")} - {"tests"}
    assert rooms <= {name.rstrip("*") for name in find["packages"]["find"]["include"]}
    kinds = {kind.lstrip("*") for kind in find["package-data"]["*"]}
    found = {path.suffix for room in rooms for path in (PROJECT / room).rglob("*.*") if path.is_file()}
    assert found - {".py", ".pyc"} <= kinds
