"""Downloading data sets, with local files in place of the network."""

import hashlib
import json
import os
import shutil
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from filelock import FileLock

from datasets import downloads, fetch
from datasets.busi import BUSI
from tests.archives import OFFICIAL, SPLIT, make_zip

connection_problem = downloads.connection_problem  # the tests replace it


@pytest.fixture
def root(tmp_path):
    path = tmp_path / "data"
    path.mkdir()
    return path


@pytest.fixture(autouse=True)
def network(tmp_path, monkeypatch):
    """No network; archives of `served` can be downloaded from the hub."""
    served, requests = tmp_path / "served", []
    served.mkdir()

    def hub(repository, name, repo_type, local_dir):
        requests.append(name)
        assert (repository, repo_type) == ("TahaKoleilat/BiomedCoOp", "dataset")
        if not (served / name).is_file():
            raise FileNotFoundError("no such archive")
        (local_dir / ".cache").mkdir(exist_ok=True)
        shutil.copy(served / name, local_dir / name)

    def drive(*_, **__):
        requests.append("drive")
        raise ConnectionError("no network")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr(downloads, "connection_problem", lambda server: "")
    monkeypatch.setattr("huggingface_hub.hf_hub_download", hub)
    monkeypatch.setattr("gdown.download", drive)
    return requests


@pytest.fixture
def run(root, monkeypatch, capsys):
    def _run(*words):
        monkeypatch.setattr(sys, "argv", ["fetch", *words, "--root", str(root)])
        code = fetch.main()
        return code, capsys.readouterr()

    return _run


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_archive_from_the_hub_is_downloaded_and_unpacked_once(root, tmp_path, network, run):
    archive = make_zip(tmp_path / "served/BUSI.zip", OFFICIAL | {"BUSI/split_BUSI.json": json.dumps(SPLIT)})
    code, printed = run("busi")
    sha256 = hashlib.sha256(archive.read_bytes()).hexdigest()
    assert code == 0
    assert f"{sha256} (the published one is not known)" in printed.out
    assert (root / "BUSI/BUSI/normal_scan/c.png").read_text() == "pixels"
    assert json.loads((root / "BUSI/archive.json").read_text()) == {
        "archive": "BUSI.zip",
        "size": archive.stat().st_size,
        "sha256": sha256,
    }
    assert names(root) == ["BUSI"]  # neither the archive nor a temporary folder
    code, printed = run("busi")
    assert (code, network) == (0, ["BUSI.zip"])
    assert "exists already" in printed.out


def test_google_drive_is_used_if_the_hub_fails(root, tmp_path, network, run, monkeypatch):
    archive = make_zip(tmp_path / "other.zip", OFFICIAL)

    def drive(url, output, **_):
        assert url.endswith("1hB5M7wcAUTV9EtiYrijACoQ36R6VmQaa")
        shutil.copy(archive, output)

    monkeypatch.setattr("gdown.download", drive)
    code, printed = run("busi")
    assert code == 0
    assert "from Google Drive" in printed.out
    assert (root / "BUSI/BUSI/benign_tumor/a.png").is_file()


@pytest.mark.parametrize("suffix", ["zip", "tar", "tar.gz"])
def test_archive_brought_by_hand_is_used_and_stays(root, network, run, suffix):
    archive = make_zip(root / "BUSI.zip", OFFICIAL)
    if suffix != "zip":
        shutil.unpack_archive(archive, root / "content")
        archive.unlink()
        made = shutil.make_archive(str(root / "BUSI"), {"tar": "tar", "tar.gz": "gztar"}[suffix], root / "content")
        assert made == str(root / f"BUSI.{suffix}")
        shutil.rmtree(root / "content")
    assert run("busi")[0] == 0
    assert names(root) == ["BUSI", f"BUSI.{suffix}"]
    assert network == []


def test_every_named_data_set_is_tried_and_failures_are_summed_up(root, network, run):
    make_zip(root / "BUSI.zip", OFFICIAL)
    code, printed = run("btmri", "busi", "retina", "busi")
    assert code == 2
    assert (root / "BUSI/BUSI").is_dir()
    assert "error: 2 of 3 data sets could not be fetched:\n  btmri: BTMRI.zip could not be downloaded" in printed.err
    assert "retina: RETINA.zip could not be downloaded" in printed.err
    assert "drive.google.com/file/d/18U-Gc22h5QryomNNzY4r4Qfrq52yf5EO/view, put it into the data root" in printed.err


def test_all_stands_for_all_data_sets_with_an_archive(network, run):
    code, printed = run("all")
    assert code == 2
    assert "11 of 11 data sets could not be fetched" in printed.err
    assert len(network) == 22


def test_unknown_names_are_refused_before_any_download(network, run):
    code, printed = run("busi", "bussi")
    assert (code, network) == (2, [])
    assert "Did you mean 'busi'" in printed.err


def test_a_server_that_cannot_be_reached_is_asked_once(network, run, monkeypatch):
    asked = []
    monkeypatch.setattr(downloads, "connection_problem", lambda server: asked.append(server) or "cannot be reached")
    code, printed = run("btmri", "busi", "retina")
    assert (code, network) == (2, [])
    assert asked == ["https://huggingface.co", "https://drive.google.com"]
    assert printed.err.count("cannot be reached; cannot be reached") == 3


def test_a_closed_port_is_a_connection_problem():
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        url = f"http://127.0.0.1:{server.server_port}"
    assert connection_problem(url) == f"'{url}' cannot be reached (ConnectionError)"


def test_offline_mode_asks_no_server(root, network, run, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    make_zip(root / "BUSI.zip", OFFICIAL)
    code, printed = run("btmri", "busi")
    assert (code, network) == (2, [])
    assert "btmri: HF_HUB_OFFLINE forbids downloads; with a browser, get BTMRI.zip from" in printed.err
    assert (root / "BUSI/BUSI").is_dir()


def test_the_list_shows_what_is_known(run):
    code, printed = run("--list")
    lines = {line.split()[0]: line for line in printed.out.splitlines() if line}
    assert code == 0
    assert "112 MB" in printed.out
    assert "octmnist    OCTMNIST.zip    unknown  CC BY 4.0     unknown" in printed.out
    assert {*lines} >= {*fetch.available()}
    assert "busi: https://www.kaggle.com/datasets/aryashah2k/breast-ultrasound-images-dataset; archive" in printed.out


def test_no_names_are_an_error_of_usage(run):
    with pytest.raises(SystemExit) as stopped:
        run()
    assert stopped.value.code == 2


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"BUSI/benign_tumor/a.png": "pixels"}, "the class folders 'malignant_tumor', 'normal_scan' are missing or"),
        ({}, "it has no folder 'BUSI' with the class folders"),
        (
            {"BUSI/benign_tumor/a.png": "pixels", "split_BUSI.json": json.dumps(SPLIT)},
            "2 of 3 images of its split file are missing: 'malignant_tumor/b.png', 'normal_scan/c.png'",
        ),
        ({"BUSI/benign_tumor/a.png": "pixels", "split_BUSI.json": "["}, "split_BUSI.json"),
    ],
)
def test_an_incomplete_folder_is_named_and_left_alone(root, network, run, files, message):
    make_zip(root / "BUSI.zip", OFFICIAL)
    (root / "BUSI").mkdir()
    for name, text in files.items():
        (root / "BUSI" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "BUSI" / name).write_text(text)
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    code, printed = run("busi")
    assert (code, network) == (2, [])
    assert "BUSI' exists, but is not complete: " in printed.err
    assert message in printed.err
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


def test_a_download_that_is_no_archive_is_kept_aside_and_downloaded_again(root, tmp_path, network, run):
    (tmp_path / "served/BUSI.zip").write_text("<!DOCTYPE html><title>Google Drive - Quota exceeded</title>")
    code, printed = run("busi")
    assert code == 2
    assert "BUSI.zip' is a web page, not an archive" in printed.err
    assert names(root / ".fetch-BUSI") == [".cache", "BUSI.zip.damaged"]
    make_zip(tmp_path / "served/BUSI.zip", OFFICIAL)
    assert run("busi")[0] == 0
    assert names(root) == ["BUSI"]


def test_a_downloaded_archive_of_another_data_set_is_not_deleted(root, tmp_path, network, run):
    make_zip(tmp_path / "served/BUSI.zip", {"RETINA/RETINA/glaucoma/a.png": "pixels"})
    for _ in range(2):
        code, printed = run("busi")
        assert code == 2
        assert "cannot be used: its layout is not known: found 'RETINA/' at the top" in printed.err
        assert names(root) == [".fetch-BUSI"]
    assert network == ["BUSI.zip"]


@pytest.mark.parametrize("declared", [True, False])
def test_a_known_checksum_is_compared(root, tmp_path, run, monkeypatch, declared):
    right = hashlib.sha256(make_zip(tmp_path / "served/BUSI.zip", OFFICIAL).read_bytes()).hexdigest()
    wrong = "0" * 64
    record = root / ".fetch-BUSI/.cache/huggingface/download/BUSI.zip.metadata"  # written by huggingface_hub
    record.parent.mkdir(parents=True)
    for sha256, code, message in [(wrong, 2, f"has the SHA-256 {right}, not {wrong}"), (right, 0, "(as published)")]:
        monkeypatch.setattr(BUSI, "sha256", sha256 if declared else "")
        record.write_text(f"revision\n{sha256}\n1.0\n")
        found, printed = run("busi")
        assert found == code
        assert message in printed.out + printed.err
        assert (root / "BUSI").exists() == (code == 0)


@pytest.mark.parametrize("stop", [KeyboardInterrupt, OSError(28, "No space left on device")])
@pytest.mark.parametrize("by_hand", [True, False])
def test_a_stopped_fetch_leaves_no_data_set_and_goes_on_later(root, tmp_path, network, run, monkeypatch, stop, by_hand):
    make_zip((root if by_hand else tmp_path / "served") / "BUSI.zip", OFFICIAL)

    def stopped(path, member, source, target):
        target.write(b"pix")
        raise stop

    with monkeypatch.context() as patch:
        patch.setattr("dassl.data.datasets.archive._copy", stopped)
        code, printed = run("busi")
    assert code == (130 if stop is KeyboardInterrupt else 2)
    assert ("run the same command again" if code == 130 else "No space left on device") in printed.err
    assert names(root) == ["BUSI.zip"] if by_hand else [".fetch-BUSI"]
    assert not list(root.rglob("*.png"))
    assert run("busi")[0] == 0
    assert names(root) == (["BUSI", "BUSI.zip"] if by_hand else ["BUSI"])
    assert network == ([] if by_hand else ["BUSI.zip"])  # the complete download was kept


@pytest.mark.parametrize("place", ["dassl.data.datasets.archive._copy", "datasets.fetch.os.replace"])
def test_what_a_killed_fetch_leaves_is_removed_by_the_next(root, run, monkeypatch, place):
    make_zip(root / "BUSI.zip", OFFICIAL)
    child = os.fork()
    if child == 0:
        monkeypatch.setattr(place, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        run("busi")
        os._exit(1)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    assert not (root / "BUSI").exists()
    assert (root / ".fetch-BUSI/unpacked").is_dir()
    assert run("btmri")[0] == 2  # the fetch of another data set removes it too
    assert names(root) == ["BUSI.zip"]
    assert run("busi")[0] == 0


def test_a_killed_fetch_that_had_moved_the_data_set_leaves_its_download_no_longer(root, tmp_path, run):
    make_zip(tmp_path / "served/BUSI.zip", OFFICIAL)
    assert run("busi")[0] == 0
    (root / ".fetch-BUSI").mkdir()
    (root / ".fetch-BUSI/BUSI.zip").touch()
    assert run("busi")[0] == 0
    assert names(root) == ["BUSI"]


def test_the_folder_of_another_process_is_left_alone(root, run):
    make_zip(root / "BUSI.zip", OFFICIAL)
    (root / ".fetch-BUSI/unpacked").mkdir(parents=True)
    with FileLock(root / ".fetch-BUSI.lock"):
        code, printed = run("busi")
        assert code == 2
        assert "another process fetches 'BUSI'" in printed.err
        assert (root / ".fetch-BUSI/unpacked").is_dir()
        assert not (root / "BUSI").exists()


def test_a_data_root_that_is_a_file_is_refused(root, run):
    shutil.rmtree(root)
    root.touch()
    code, printed = run("busi")
    assert code == 2
    assert "is no folder; name a folder with --root" in printed.err
