"""Downloading files and unpacking archives: what is damaged or unsafe is refused, and nothing leaves the folder."""

import hashlib
import io
import os
import shutil
import stat
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from dassl.data.datasets import archive as archives
from dassl.data.datasets.archive import ArchiveError, unpack
from dassl.data.datasets.download import download
from dassl.errors import InputError
from tests.archives import OFFICIAL, make_zip


def entry(name, mode=0):
    info = zipfile.ZipInfo("placeholder")
    info.filename, info.external_attr = name, mode << 16
    return info


def zip_of(path, *entries):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("good.png", "pixels")
        for info in entries:
            file.writestr(info, "target")


def changed(path, change):
    """Write an archive whose bytes are changed by a function."""
    zip_of(path)
    path.write_bytes(change(path.read_bytes()))


def encrypted(data):
    """Set the flag of encryption in the two headers of each member."""
    for start, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        position = data.find(start)
        while position >= 0:
            data = data[: position + at] + b"\x01" + data[position + at + 1 :]
            position = data.find(start, position + 1)
    return data


def repeated(path):
    with pytest.warns(UserWarning, match="Duplicate name"):
        zip_of(path, entry("good.png"))


BAD = {
    "zero bytes": (lambda path: path.touch(), "is empty"),
    "web page": (lambda path: path.write_text("\n<!DOCTYPE html><html>quota</html>"), "is a web page, not an archive"),
    "text": (lambda path: path.write_text("hello" * 300), "no .zip or .tar archive"),
    "truncated": (lambda path: changed(path, lambda data: data[: len(data) // 2]), "its end is missing"),
    "start lost": (lambda path: changed(path, lambda data: data[50:]), "is damaged"),
    "other byte": (lambda path: changed(path, lambda data: data.replace(b"pixels", b"pixelx")), "Bad CRC-32"),
    "encrypted": (lambda path: changed(path, encrypted), "is encrypted"),
    "no members": (lambda path: make_zip(path, {}), "holds no files"),
    "parent": (lambda path: zip_of(path, entry("a/../../x.png")), "'a/../../x.png' lies outside its folder"),
    "absolute": (lambda path: zip_of(path, entry("/tmp/x.png")), "'/tmp/x.png' lies outside its folder"),
    "drive": (lambda path: zip_of(path, entry("C:/x.png")), "lies outside its folder"),
    "backslash": (lambda path: zip_of(path, entry("..\\x.png")), "has a backslash"),
    "line break": (lambda path: zip_of(path, entry("a\nb.png")), "'a\\nb.png' has a backslash or a control character"),
    "long name": (lambda path: zip_of(path, entry("x" * 256)), "too long for file systems"),
    "long path": (lambda path: zip_of(path, entry("x/" * 2000 + "a")), "too long for file systems"),
    "twice": (repeated, "'good.png' is there twice"),
    "file and folder": (lambda path: zip_of(path, entry("good.png/x.png")), "'good.png/x.png' is a file and a folder"),
    "link": (lambda path: zip_of(path, entry("x", stat.S_IFLNK | 0o777)), "'x' is a link or a device"),
    "device": (lambda path: zip_of(path, entry("x", stat.S_IFCHR)), "'x' is a link or a device"),
}


def refused(path, folder, error=ArchiveError):
    """Unpack an archive that is refused; return the message, which is one line and names the archive."""
    with pytest.raises(error) as caught:
        unpack(path, folder)
    message = str(caught.value)
    assert str(path) in message
    assert len(message.splitlines()) == 1
    assert len(message) < 600
    return message


@pytest.mark.parametrize("kind", BAD)
def test_bad_zip_archives_are_refused(tmp_path, kind):
    make, message = BAD[kind]
    make(tmp_path / "bad.zip")
    assert message in refused(tmp_path / "bad.zip", tmp_path / "in")
    assert [path.name for path in tmp_path.iterdir() if path.name != "in"] == ["bad.zip"]
    if kind not in ("other byte", "start lost"):  # all else is found before the first file is written
        assert not (tmp_path / "in").exists()


def tar_of(path, mode="w", **words):
    with tarfile.open(path, mode) as file:
        for name in ("good.png", "other.png"):
            info = tarfile.TarInfo(name)
            info.size = 2000
            file.addfile(info, io.BytesIO(os.urandom(2000)))
        if words:
            info = tarfile.TarInfo(words.pop("name", "x"))
            for key, value in words.items():
                setattr(info, key, value)
            file.addfile(info)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"name": "../x"}, "lies outside its folder"),
        ({"name": "/tmp/x"}, "lies outside its folder"),
        ({"type": tarfile.SYMTYPE, "linkname": "good.png"}, "is a link or a device"),
        ({"type": tarfile.LNKTYPE, "linkname": "good.png"}, "is a link or a device"),
        ({"type": tarfile.FIFOTYPE}, "is a link or a device"),
        ({"type": tarfile.CHRTYPE}, "is a link or a device"),
        ({"name": "good.png"}, "is there twice"),
    ],
)
def test_bad_tar_members_are_refused(tmp_path, words, message):
    tar_of(tmp_path / "bad.tar", **words)
    assert message in refused(tmp_path / "bad.tar", tmp_path / "in")
    assert not (tmp_path / "in").exists()


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.7])
def test_truncated_tar_archives_are_refused(tmp_path, mode, share):
    path = tmp_path / "bad.tar"
    tar_of(path, mode)
    unpack(path, tmp_path / "good")
    content = 5120 if mode == "w" else path.stat().st_size  # what follows in a plain archive is zeros
    path.write_bytes(path.read_bytes()[: int(share * content)])
    refused(path, tmp_path / "in")


def test_a_tar_archive_that_ends_between_two_members_is_refused(tmp_path):
    tar_of(tmp_path / "bad.tar")
    data = (tmp_path / "bad.tar").read_bytes()
    (tmp_path / "bad.tar").write_bytes(data[: 512 + 2048])
    assert "its end is missing" in refused(tmp_path / "bad.tar", tmp_path / "in")


def test_decompression_bombs_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "ALWAYS_ALLOWED", 10**6)
    make_zip(tmp_path / "bomb.zip", {"zeros.png": bytes(5 * 10**6)})
    assert "decompression bomb" in refused(tmp_path / "bomb.zip", tmp_path / "in")
    with tarfile.open(tmp_path / "bomb.tar.gz", "w:gz") as file:
        info = tarfile.TarInfo("zeros.png")
        info.size = 5 * 10**6
        file.addfile(info, io.BytesIO(bytes(info.size)))
    assert "decompression bomb" in refused(tmp_path / "bomb.tar.gz", tmp_path / "in")
    monkeypatch.setattr(archives, "MAX_MEMBERS", 2)
    assert "more than 1,000,000 bytes or 2 members" in refused(make_zip(tmp_path / "b.zip", OFFICIAL), tmp_path / "in")
    assert not (tmp_path / "in").exists()


@pytest.mark.parametrize("stated", [3, 9])
def test_members_of_another_size_than_stated_are_refused(tmp_path, stated):
    """Both headers state another size and the checksum of that many bytes; the stored content has six bytes."""
    path = tmp_path / "bad.zip"
    data = make_zip(path, {"a.png": "pixels"}).read_bytes()
    path.write_bytes(data.replace((6).to_bytes(4, "little"), stated.to_bytes(4, "little")))
    assert "is damaged" in refused(path, tmp_path / "in")


def test_a_disk_that_is_too_small_is_found_before_unpacking(tmp_path, monkeypatch):
    path = make_zip(tmp_path / "large.zip", OFFICIAL)
    usage = shutil.disk_usage(tmp_path)._replace(free=10_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    assert "needs 0 MB on the disk, and 0 MB are free; free some space" in refused(path, tmp_path / "in", InputError)
    assert not list((tmp_path / "in").iterdir())


def test_a_file_in_place_of_the_folder_is_an_error(tmp_path):
    (tmp_path / "in").touch()
    message = refused(make_zip(tmp_path / "good.zip", OFFICIAL), tmp_path / "in", InputError)
    assert "cannot be unpacked into" in message


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir(), os.mkfifo])
def test_what_is_no_file_is_refused(tmp_path, make):
    make(tmp_path / "x.zip")
    assert "does not exist, or is no regular file" in refused(tmp_path / "x.zip", tmp_path / "in", InputError)


@pytest.mark.parametrize("mode", ["zip", "w", "w:gz", "w:xz"])
def test_the_content_and_not_the_name_says_how_to_unpack(tmp_path, mode):
    path = tmp_path / "archive.bin"
    make_zip(path, {"good.png": "x" * 2000, "folder/": ""}) if mode == "zip" else tar_of(path, mode)
    for _ in range(2):  # an existing file is replaced, as Dassl does
        unpack(path, tmp_path / "in")
    assert (tmp_path / "in/good.png").stat().st_size == 2000


def test_dassl_style_download_unpacks_beside_the_archive(tmp_path, monkeypatch):
    from dassl.data.datasets import DatasetBase

    def drive(url, output, **_):
        make_zip(output, {"images/a.png": "pixels"})

    monkeypatch.setattr("gdown.download", drive)
    DatasetBase.download_data(None, "https://drive.google.com/uc?id=1", str(tmp_path / "new/a.zip"))
    assert (tmp_path / "new/images/a.png").read_text() == "pixels"
    assert (tmp_path / "new/a.zip").is_file()


class Archive(BaseHTTPRequestHandler):
    """Serves 5 bytes; under /short it promises more than it sends."""

    def do_GET(self):
        self.send_response(404 if "absent" in self.path else 200)
        self.send_header("Content-Length", "9" if "short" in self.path else "5")
        self.end_headers()
        self.wfile.write(b"bytes")

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _: None)  # pooch waits before it tries again
    with ThreadingHTTPServer(("127.0.0.1", 0), Archive) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_plain_downloads_appear_when_they_are_complete(server, tmp_path):
    target = tmp_path / "file.bin"
    target.write_text("old")
    for path, sha256, message in [
        ("short", None, "IncompleteRead"),
        ("absent", None, "404"),
        ("file", "0" * 64, "hash"),
    ]:
        with pytest.raises(InputError, match=rf"/{path}' could not be downloaded.*{message}.*download it by hand to"):
            download(f"{server}/{path}", str(target), sha256=sha256)
        assert target.read_text() == "old"
    download(f"{server}/file", str(target), sha256=hashlib.sha256(b"bytes").hexdigest())
    assert target.read_text() == "bytes"
    assert not list(tmp_path.glob(".download-*"))
