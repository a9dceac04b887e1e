"""Downloading data sets, with local files in place of the network."""

import sys
import zipfile

import pytest

from datasets import fetch


@pytest.fixture
def archive(tmp_path):
    path = tmp_path / "server" / "BUSI.zip"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("BUSI/BUSI/normal_scan/a.png", "pixels")
    return path


def run(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["fetch", *map(str, words)])
    return fetch.main()


def test_archive_from_the_hub_is_downloaded_and_unpacked_once(archive, tmp_path, monkeypatch, capsys):
    requests = []

    def hub(repository, name, repo_type, local_dir):
        requests.append((repository, name, repo_type))
        (local_dir / name).write_bytes(archive.read_bytes())

    monkeypatch.setattr("huggingface_hub.hf_hub_download", hub)
    for _ in range(2):
        assert run(monkeypatch, "busi", "--root", tmp_path / "data") == 0
    assert requests == [("TahaKoleilat/BiomedCoOp", "BUSI.zip", "dataset")]
    assert (tmp_path / "data/BUSI/BUSI/normal_scan/a.png").read_text() == "pixels"
    assert not (tmp_path / "data/BUSI.zip").exists()
    assert "exists already" in capsys.readouterr().out


def test_google_drive_is_used_if_the_hub_fails(archive, tmp_path, monkeypatch):
    def drive(url, output, quiet, resume):
        assert url.endswith("1hB5M7wcAUTV9EtiYrijACoQ36R6VmQaa")
        with open(output, "wb") as file:
            file.write(archive.read_bytes())

    def hub(*_, **__):
        raise ConnectionError("no network")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", hub)
    monkeypatch.setattr("gdown.download", drive)
    assert run(monkeypatch, "busi", "--root", tmp_path / "data") == 0
    assert (tmp_path / "data/BUSI/BUSI/normal_scan/a.png").is_file()


def test_failed_downloads_and_unknown_names_exit_with_2(tmp_path, monkeypatch, capsys):
    def fail(*_, **__):
        raise ConnectionError("no network")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", fail)
    monkeypatch.setattr("gdown.download", fail)
    assert run(monkeypatch, "busi", "--root", tmp_path) == 2
    assert "could not be downloaded (ConnectionError: no network); download it by hand to" in capsys.readouterr().err
    assert run(monkeypatch, "bussi", "--root", tmp_path) == 2
    assert "Did you mean 'busi'" in capsys.readouterr().err
