"""Temporary folders: of a process and its children, removed at its end, or by a later process after a kill."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from runs.scratch import ABANDONED_SECONDS, LOCK, PREFIX, remove_abandoned
from tests.conftest import PROJECT

# Makes what a sweep makes: the folder of multiprocessing's sockets, and a folder of the sweep's own.
MAKE = """
import os, signal, subprocess, sys, tempfile
from multiprocessing.util import get_temp_dir
from runs.scratch import use_own_folder
folder = use_own_folder()
assert use_own_folder() == folder
tempfile.mkdtemp(prefix="sweep-")
get_temp_dir()
child = "import tempfile; from runs.scratch import use_own_folder; print(use_own_folder(), tempfile.mkdtemp())"
words = subprocess.run([sys.executable, "-c", child], capture_output=True, text=True, check=True).stdout.split()
assert words[0] == str(folder) and words[1].startswith(str(folder))
print(folder, flush=True)
"""


def start(temporary, then):
    """A process that makes its folder and then does something; returns it and the folder."""
    environment = {**os.environ, "TMPDIR": str(temporary)}
    words = [sys.executable, "-c", MAKE + then]
    process = subprocess.Popen(
        words, cwd=PROJECT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    return process, Path(process.stdout.readline().strip())


def test_the_folder_of_a_killed_process_is_removed_by_the_next(tmp_path):
    killed, left = start(tmp_path, "os.kill(os.getpid(), signal.SIGKILL)")
    assert killed.wait() == -signal.SIGKILL
    assert len(list(left.iterdir())) == 4  # two of the process, one of its child, and the lock
    living, held = start(tmp_path, "sys.stdin.read()")
    assert not left.exists()
    remove_abandoned(tmp_path)
    assert len(list(held.iterdir())) == 4
    living.communicate("")
    assert living.returncode == 0
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_a_dead_process_s_stays(tmp_path):
    own = tmp_path / f"{PREFIX}results"
    own.mkdir()
    (own / "thesis.tex").write_text("precious")
    made, halfway = tmp_path / f"{PREFIX}young", tmp_path / f"{PREFIX}old"
    made.mkdir()
    halfway.mkdir()
    (tmp_path / f"{PREFIX}link").symlink_to(own)
    (tmp_path / f"{PREFIX}file").write_text("")
    for folder in (own, halfway):
        os.utime(folder, (0, os.stat(folder).st_mtime - 2 * ABANDONED_SECONDS))
    remove_abandoned(tmp_path)
    names = {path.name.removeprefix(PREFIX) for path in tmp_path.iterdir()}
    assert names == {"results", "young", "link", "file"}
    assert (own / "thesis.tex").read_text() == "precious"


def test_another_user_s_folder_stays(tmp_path, monkeypatch):
    folder = tmp_path / f"{PREFIX}x"
    folder.mkdir()
    (folder / LOCK).touch()
    owner = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: owner + 1)
    remove_abandoned(tmp_path)
    assert folder.is_dir()
    monkeypatch.undo()
    remove_abandoned(tmp_path)
    assert not folder.exists()
