"""--overwrite, and files in a run's folder that no run has written: nothing of the user's is lost."""

from pathlib import Path

import pytest

from dassl.errors import InputError
from runs.folder import MARKER, clear_folder, refuse_other_files
from runs.lock import RunLock

CONFIG = "TRAINER:\n  NAME: CoOp\nDATASET:\n  NAME: Phantom\n"
OF_RUN = ("results.json", MARKER, "log.txt", "log.txt-2026-01-02-03-04-05", "checkpoint.pth", "model.pth")


@pytest.fixture
def folder(tmp_path):
    """The folder of a run, with a model of its own and one of a Dassl trainer."""
    folder = tmp_path / "run"
    for name in (*OF_RUN, "prompt_learner/model.pth.tar-2", "head/model.pth.tar-5", "head/model-best.pth.tar"):
        path = folder / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.touch()
    (folder / "head" / "checkpoint").write_text("model.pth.tar-5\n")
    (folder / "config.yaml").write_text(CONFIG)
    (folder / ".model.pth.ab12cd_9").touch()
    return folder


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_only_what_a_run_writes_is_removed(folder, tmp_path, capsys):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "model.pth.tar-1").touch()
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    for name in ("notes.txt", "model.pth.bak", ".model.pth.my", "head/notes", "figures/checkpoint"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    clear_folder(folder)
    kept = [
        ".model.pth.my",
        "figures",
        "figures/checkpoint",
        "head",
        "head/notes",
        "linked",
        "model.pth.bak",
        "notes.txt",
    ]
    assert names(folder) == kept
    assert names(tmp_path / "elsewhere") == ["model.pth.tar-1"]
    printed = capsys.readouterr().out
    assert "removed the files of the run" in printed
    assert "kept .model.pth.my, figures, head, linked, model.pth.bak and 1 more" in printed


def test_an_interrupted_removal_can_be_repeated(folder, monkeypatch):
    removed, unlink = [], Path.unlink

    def interrupted(path, **words):
        if len(removed) == 5:
            raise KeyboardInterrupt
        removed.append(path.name)
        unlink(path, **words)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", interrupted)
        with pytest.raises(KeyboardInterrupt):
            clear_folder(folder)
    assert removed[0] == MARKER
    clear_folder(folder)
    assert names(folder) == []


@pytest.mark.parametrize(
    "files",
    [
        {"log.txt": "mine"},
        {"log.txt": "mine", "model.pth": "mine"},
        {"config.yaml": "site: mine\n", "log.txt": ""},
        {"config.yaml": "- TRAINER\n"},
        {"results.json": '{"accuracy": 7}'},
        {"results.json": "[]", MARKER: "not empty"},
    ],
)
def test_a_folder_without_a_runs_identity_is_left_alone(tmp_path, files):
    folder = tmp_path / "mine"
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    with pytest.raises(InputError, match="does not look like a run's folder; it is left alone"):
        clear_folder(folder)
    assert {path.name: path.read_text() for path in folder.iterdir()} == files
    if set(files) != {"log.txt"}:
        with pytest.raises(InputError, match="but no run; choose another folder"):
            refuse_other_files(folder)


def test_a_damaged_run_and_an_imported_one_can_be_replaced(folder):
    (folder / "config.yaml").write_text("TRAINER: [")
    refuse_other_files(folder)
    (folder / MARKER).unlink()
    (folder / "results.json").write_text('{"method": "CoOp", "protocol": "few_shot"}')
    clear_folder(folder)
    assert names(folder) == []


def test_a_linked_folder_is_not_followed(folder, tmp_path):
    (tmp_path / "link").symlink_to(folder)
    before = names(folder)
    with pytest.raises(InputError, match="is a symbolic link; name the folder itself"):
        clear_folder(tmp_path / "link")
    assert names(folder) == before


def test_a_users_yaml_file_is_not_replaced_by_a_run(command, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text("site: mine\n")
    code, printed = command("--trainer", "ZeroShot")
    assert code == 2
    assert "holds config.yaml, but no run; choose another folder with --output-dir" in printed.err
    assert (tmp_path / "run" / "config.yaml").read_text() == "site: mine\n"


def test_a_lock_removes_only_unfinished_files_of_a_run(folder):
    (folder / ".notes.mine").touch()
    (folder / ".settings.abcdefgh").touch()
    RunLock(folder).release()
    assert not (folder / ".model.pth.ab12cd_9").exists()
    assert (folder / ".notes.mine").exists()
    assert (folder / ".settings.abcdefgh").exists()
