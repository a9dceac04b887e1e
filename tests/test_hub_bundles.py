"""Bundles from the hub, by a server that stands in for it, and to the hub, by a recorded interface."""

import socket
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest
import torch
from PIL import Image

import biomed_dpt
from biomed_dpt.__main__ import main
from biomed_dpt.hub import fetch_bundle, load, open_bundle, parse_source, push
from configs import Choice, build_cfg
from dassl.errors import InputError
from tests.hub_server import serving
from tests.test_readme import PAGES, block
from trainers.bundle import FILES, write_bundle
from trainers.imported import import_checkpoint

NAMES = ["benign nodule", "malignant nodule"]


@pytest.fixture(scope="module")
def bundle(tiny, tmp_path_factory):
    """The folder of a bundle of CoOp on Tiny."""
    folder = tmp_path_factory.mktemp("tuned")
    torch.save({"state_dict": {"ctx": torch.ones(4, tiny.text_width)}}, folder / "model.pth")
    made = import_checkpoint(folder / "model.pth", build_cfg(Choice("CoOp")), {"dataset": "thyroid"}, NAMES)
    write_bundle(folder / "bundle", made, "the card")
    return folder / "bundle"


@pytest.fixture(scope="module")
def newer(bundle, tmp_path_factory):
    """Another state of the same repository, with a file that is not the bundle's."""
    folder = tmp_path_factory.mktemp("newer") / "bundle"
    found = open_bundle(bundle)
    write_bundle(folder, replace(found, about={**found.about, "provenance": {"dataset": "newer"}}), "the card")
    (folder / "training.log").write_text("not a part of the bundle")
    return folder


@pytest.fixture
def hub(bundle, newer, tmp_path, monkeypatch):
    """The stand-in as the hub, with an empty cache; the list of requests."""
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "README.md").write_text("no bundle here")
    repositories = {"user/thyroid": {"main": newer, "v1": bundle}, "user/empty": {"main": empty}}
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving(repositories) as (address, requested):
        use_hub(monkeypatch, address, tmp_path)
        yield requested


def use_hub(monkeypatch, address, folder):
    """What the environment variables HF_ENDPOINT and HF_HOME set where the process starts."""
    constants = huggingface_hub.constants
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    )
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder / "hub"))


def test_only_the_files_of_a_bundle_are_downloaded_and_once(hub):
    folder = fetch_bundle("hf://user/thyroid")
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    assert not any("training.log" in path for path in hub)
    assert open_bundle("hf://user/thyroid").about["provenance"] == {"dataset": "newer"}
    downloads = [path for path in hub if path.startswith("GET user")]
    assert len(downloads) == len(FILES)


def test_a_revision_is_loaded_and_predicts(hub, bundle, tiny):
    predictor = load("hf://user/thyroid@v1", backbone=tiny)
    assert predictor.classnames == NAMES
    assert predictor.bundle.about == open_bundle(bundle).about
    assert predictor.bundle.about["provenance"] == {"dataset": "thyroid"}
    features = torch.eye(2, tiny.embed_dim)
    assert torch.equal(predictor.logits(features), load(bundle, backbone=tiny).logits(features))
    assert biomed_dpt.load is load


def test_the_example_of_the_page(hub, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.new("L", (40, 30), 90).save("scan.png")
    names: dict = {}
    exec(block("python", "hf://user/thyroid@v1", PAGES["SHARING.md"]), names)
    assert names["probabilities"].shape == (1, 2)
    assert names["probabilities"].sum() == pytest.approx(1)


def test_without_a_network_the_cache_is_used(hub, tmp_path, monkeypatch):
    fetched = fetch_bundle("hf://user/thyroid")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{unused.getsockname()[1]}"
    use_hub(monkeypatch, nobody, tmp_path)
    for offline in (False, True):
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", offline)
        assert fetch_bundle("hf://user/thyroid") == fetched
        with pytest.raises(InputError, match=r"'user/other@v2' is neither in the local cache nor can it be downloaded"):
            fetch_bundle("hf://user/other@v2")
    with pytest.raises(InputError, match=r"network: hf download user/other --revision v2 --local-dir FOLDER; then"):
        fetch_bundle("hf://user/other@v2")


def test_what_is_not_on_the_hub_is_named(hub):
    with pytest.raises(InputError, match=r"no repository 'user/nothing' on the hub, or it is private; log in with: hf"):
        fetch_bundle("hf://user/nothing")
    with pytest.raises(InputError, match=r"the repository 'user/thyroid' has no revision 'v9'"):
        fetch_bundle("hf://user/thyroid@v9")
    with pytest.raises(InputError, match=r"'hf://user/empty' holds no bundle: it has no bundle.json and no model.safe"):
        fetch_bundle("hf://user/empty")


@pytest.mark.parametrize(
    "source",
    [
        "hf://",
        "hf://name",
        "hf://../x",
        "hf://a/../b",
        "hf://a/b/c",
        "hf://a b/c",
        "hf:///a/b",
        "hf://a/b.git",
        "hf://-a/b",
    ],
)
def test_names_that_cannot_be_repositories_are_refused_without_a_request(hub, source):
    with pytest.raises(InputError, match="is no name of a repository"):
        fetch_bundle(source)
    assert hub == []


@pytest.mark.parametrize("revision", ["", "../main", "a..b", "v 1", "-x"])
def test_revisions_that_cannot_be_ones_are_refused(hub, revision):
    with pytest.raises(InputError, match="is no branch, tag or commit"):
        fetch_bundle(f"hf://user/thyroid@{revision}")
    assert hub == []


def test_sources_have_a_repository_and_perhaps_a_revision():
    assert parse_source("hf://user/name") == ("user/name", None)
    assert parse_source("hf://user/na.me-2@refs/pr/1") == ("user/na.me-2", "refs/pr/1")


class Recorder:
    """The part of the hub's interface that uploads, which records its calls."""

    calls: list = []
    error = None

    def __init__(self, token=None):
        self.token = token

    def create_repo(self, repo_id, **words):
        if self.error:
            raise self.error
        self.calls.append(("create", repo_id, words))
        return f"https://huggingface.co/{repo_id}"

    def upload_folder(self, repo_id, folder_path, allow_patterns, commit_message):
        names = sorted(path.name for path in Path(folder_path).iterdir())
        sent = list(huggingface_hub.utils.filter_repo_objects(names, allow_patterns=allow_patterns))
        self.calls.append(("upload", repo_id, sent, commit_message))


@pytest.fixture
def recorder(monkeypatch):
    monkeypatch.setattr(huggingface_hub, "HfApi", Recorder)
    monkeypatch.setattr(Recorder, "calls", [])
    return Recorder


def test_push_creates_the_repository_and_sends_the_bundles_files(recorder, newer):
    assert push(newer, "user/thyroid", private=True, message="first") == "https://huggingface.co/user/thyroid"
    created, uploaded = recorder.calls
    assert created == ("create", "user/thyroid", {"private": True, "exist_ok": True})
    assert uploaded == ("upload", "user/thyroid", sorted(FILES), "first")


def test_push_command_asks_before_it_uploads(recorder, bundle, monkeypatch, capsys):
    words = ["push", str(bundle), "user/thyroid"]
    assert main([*words, "--yes"]) == 0
    assert capsys.readouterr().out == "https://huggingface.co/user/thyroid\n"
    assert recorder.calls[1][-1] == "CoOp on Tiny"
    recorder.calls.clear()
    assert main(words) == 2
    assert "will be uploaded to 'user/thyroid'; confirm with --yes" in capsys.readouterr().err
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr("builtins.input", lambda question: "n")
    assert main(words) == 1
    assert recorder.calls == []
    monkeypatch.setattr("builtins.input", lambda question: "y")
    assert main([*words, "--private"]) == 0
    assert recorder.calls[0][2]["private"] is True


def test_push_refuses_before_it_asks_the_hub(recorder, bundle, tmp_path, capsys):
    assert main(["push", str(bundle), "name", "--yes"]) == 2
    assert main(["push", str(tmp_path), "user/name", "--yes"]) == 2
    printed = capsys.readouterr().err
    assert "'name' is no name of a repository; it must be of the form user/name" in printed
    assert f"no bundle in '{tmp_path}'" in printed
    assert recorder.calls == []


def test_failed_uploads_are_one_line(recorder, bundle, monkeypatch, capsys):
    monkeypatch.setattr(Recorder, "error", ConnectionError("no route\nto the host"))
    assert main(["push", str(bundle), "user/name", "--yes"]) == 2
    printed = capsys.readouterr().err
    assert "was not uploaded to 'user/name' (ConnectionError: no route); check the network, and log in with" in printed
    assert "Traceback" not in printed
