"""What several kinds of cases share: small data sets, and train.py and the sweep as functions."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from unittest import mock

import numpy as np
from PIL import Image

import train
from datasets import phantom
from sweep.__main__ import main as sweep_main
from tests.fuzz.place import Place, Site
from tests.fuzz.verdict import Case, Outcome, call

CLASSES = ("ill", "well")
OWN = "DATASET.NAME: Folder\nDATASET.FOLDER: Own\nDATASET.CLASSES: [ill, well]\n"
CHEAP = ["DATALOADER.NUM_WORKERS", "0", "OPTIM.MAX_EPOCH", "1", "TRAIN.PRINT_FREQ", "1000"]


def phantom_root(folder: Path) -> Path:
    """A data root with the phantom data set, eight images per class."""
    with mock.patch.object(phantom, "IMAGES_PER_CLASS", 8):
        call(lambda: phantom.generate(folder / "Phantom" / "Phantom", phantom.Phantom.classes))
    return folder


def own_root(folder: Path) -> Path:
    """A data root with a data set of two class folders, six images in each, and its yaml file."""
    rng = np.random.default_rng(0)
    for name in CLASSES:
        (folder / "Own" / "Own" / name).mkdir(parents=True)
        for k in range(6):
            Image.fromarray(rng.integers(0, 255, (24, 24), np.uint8)).save(folder / "Own" / "Own" / name / f"{k}.png")
    (folder / "own.yaml").write_text(OWN)
    return folder


def own_copy(site: Site, place: Place) -> Path:
    """A copy of `own_root` in which a case may change files."""
    return shutil.copytree(site.get(own_root), place.inside / "data")


def write_text(path: Path, case: Case) -> None:
    """Write the text of a case in its encoding; lone surrogates are written as they are."""
    encoding = case.what["encoding"]
    path.write_bytes(case.what["text"].encode(encoding, errors="surrogatepass" if encoding == "utf-8" else "strict"))


def run_train(*words: object) -> Outcome:
    """What train.py does with some arguments."""
    return call(lambda: train.main([str(word) for word in words]))


def run_own(case: Case, root: Path, place: Place, *words: object, trainer: str = "LinearProbe") -> Outcome:
    """What train.py does on the data set of `own_root`, one image per class: it builds the run.

    A case that says "then": "execute" is trained, tested and must have finite results.
    """
    given = ["--trainer", trainer, "--dataset", root / "own.yaml", "--root", root, "--shots", 1]
    folder = place.inside / "run"
    if case.what.get("then") != "execute":
        return run_train(*given, "--output-dir", folder, "--no-train", *words)
    outcome = run_train(*given, "--output-dir", folder, "--accept-unread", *words, *CHEAP)
    outcome.wrong += finite_results(folder) if outcome.code == 0 else []
    return outcome


def run_sweep(*words: object) -> Outcome:
    """What `python -m sweep` does with some arguments."""
    return call(lambda: sweep_main([str(word) for word in words]))


def finite_results(folder: Path) -> list[str]:
    """What is wrong with the numbers of a complete run."""
    if not (folder / "COMPLETE").is_file():
        return ["exit code 0, but no complete run"]
    results = json.loads((folder / "results.json").read_text())
    return [f"{where} is {value}" for where, value in _numbers(results, "") if not np.isfinite(value)]


def _numbers(value: object, where: str) -> Sequence[tuple[str, float]]:
    if isinstance(value, dict):
        return [found for key, inner in value.items() for found in _numbers(inner, f"{where}.{key}")]
    if isinstance(value, list):
        return [found for inner in value for found in _numbers(inner, where)]
    return [(where, value)] if isinstance(value, int | float) else []
