import json
import os
import shutil
from pathlib import Path

from filelock import FileLock

# The models of the tests are small; threads of several processes on few cores would wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest

CHROMIUM_FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run")
CHROMIUM_FLAGS += ("--disable-background-networking", "--disable-component-update", "--disable-sync")
PROJECT = Path(__file__).resolve().parent.parent
SHARED = PROJECT.parent / "shared"


def pytest_collection_modifyitems(items):
    """Start files with slow tests first, so that no process runs one of them alone at the end.

    The tests of a file stay together: what they share is then made in one process.
    """
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """Derived files of the tests stay away from the user's."""
    os.environ["BIOMED_DPT_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def shared():
    if not SHARED.is_dir():
        pytest.skip(f"needs the recorded numbers and images in '{SHARED}', which are not part of the repository")
    return SHARED


@pytest.fixture(scope="session")
def phantom_root(tmp_path_factory):
    """A data root with a small phantom data set: 40 images per class, 12 of them in the test part."""
    return _phantom(tmp_path_factory, "data", 40)


@pytest.fixture(scope="session")
def few_images(tmp_path_factory):
    """A data root with the smallest phantom data set that tests can use: 10 images per class, 3 in the test part."""
    return _phantom(tmp_path_factory, "few", 10)


def _phantom(tmp_path_factory, name, images_per_class):
    """A folder with the images, each process's own; the process that comes first draws them for all."""
    from datasets import phantom

    common = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        common = common.parent
    drawn = common / f"drawn-{name}"
    with FileLock(common / f"{name}.lock"), pytest.MonkeyPatch.context() as patch:
        if not drawn.is_dir():
            patch.setattr(phantom, "IMAGES_PER_CLASS", images_per_class)
            phantom.generate(drawn, phantom.Phantom.classes)
    root = tmp_path_factory.mktemp(name)
    shutil.copytree(drawn, root / "Phantom" / "Phantom")
    return root


@pytest.fixture(scope="session")
def tiny():
    from clip import build_backbone

    return build_backbone("Tiny")


@pytest.fixture
def build(request, tmp_path):
    """Builds a trainer, on the few images where a test or fixture asks for them: build("CoOp", shots=1, opts=[...])."""
    from configs import Choice, build_cfg
    from dassl.engine import build_trainer

    images = request.getfixturevalue("few_images" if "few_images" in request.fixturenames else "phantom_root")

    def _build(trainer="BiomedDPT", shots=1, opts=(), **words):
        folder = tmp_path / f"run{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        words.setdefault("root", str(images))
        opts = ["DATALOADER.NUM_WORKERS", "0", "OUTPUT_DIR", str(folder), *map(str, opts)]
        return build_trainer(build_cfg(Choice(trainer, shots=shots, opts=opts, accept_unread=True, **words)))

    return _build


@pytest.fixture
def encoded(monkeypatch, tmp_path):
    """How many images were encoded, and a store that is empty at the start."""
    from clip import BiomedCLIP

    monkeypatch.setenv("BIOMED_DPT_CACHE", str(tmp_path / "own"))
    counts, encode = [], BiomedCLIP.encode_image

    def counted(self, pixels, prompt=None):
        counts.append(len(pixels))
        return encode(self, pixels, prompt)

    monkeypatch.setattr(BiomedCLIP, "encode_image", counted)
    return counts


@pytest.fixture
def write_prompts(tmp_path):
    def _write(template, classes):
        path = tmp_path / "prompts.json"
        path.write_text(json.dumps({"template": template, "classes": classes}))
        return str(path)

    return _write


@pytest.fixture
def command(phantom_root, tmp_path, capsys):
    """Runs train.py on the phantom data; returns exit code and what was printed."""

    from train import main

    def _command(*words, out="run", root=phantom_root):
        words = [*map(str, words)]
        if out is not None:
            words = ["--output-dir", str(tmp_path / out), *words]
        code = main(["--root", str(root), *words])
        return code, capsys.readouterr()

    return _command


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """Headless Chromium."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("needs Debian's packages chromium and chromium-driver")
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs requirements-browser.txt")
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*CHROMIUM_FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options=options, service=Service(driver))
    yield browser
    browser.quit()
