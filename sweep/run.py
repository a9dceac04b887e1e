"""One run as a value: what it is, where it lies on disk, whether it is complete."""

import difflib
import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

from dassl.config import parse_yaml
from dassl.errors import InputError
from dassl.utils import atomic_path, read_json, write_json
from sweep.report.stats import harmonic

RESULTS_FILE = "results.json"
MARKER = "COMPLETE"  # written last; a run without it is not a result
# Settings that may differ between a stored run and its continuation: they do not change the numbers.
WITHOUT_EFFECT = {"OUTPUT_DIR", "RESUME", "USE_CUDA", "VERBOSE", "DATASET.ROOT", "TRAIN.PRINT_FREQ"}
WITHOUT_EFFECT |= {"DATALOADER.NUM_WORKERS"}


class Kind(NamedTuple):
    """What runs have in common that differ in shots and seed only, on one backbone."""

    method: str
    dataset: str
    protocol: str


@dataclass(frozen=True, order=True)
class Run:
    """A run by its everyday words; methods that learn nothing have shots 0 and seed 1 (`sweep.plan`)."""

    protocol: str
    dataset: str
    backbone: str
    method: str
    shots: int
    seed: int

    @property
    def kind(self) -> Kind:
        return Kind(self.method, self.dataset, self.protocol)

    def folder(self, output: str | Path) -> Path:
        """Where the run's files lie."""
        return Path(self.path(output))

    def path(self, output: str | Path) -> str:
        """The folder as text: thousands of paths take a while to make."""
        kind = f"{self.protocol}/{self.dataset}/{self.backbone}/{self.method}"
        return f"{output}/{kind}/{self.shots}shots/seed{self.seed}"

    def as_dict(self) -> dict:
        return asdict(self)

    def __str__(self) -> str:
        about = f"{self.backbone}, {self.protocol}, {self.shots} shots, seed {self.seed}"
        return f"{self.method} on {self.dataset} ({about})"


@dataclass(frozen=True)
class Settings:
    """What all runs of a sweep have in common.

    Attributes:
        output: root of all run folders.
        root: the data root; "" for the default.
        published: behave as the officially published code.
        opts: KEY VALUE pairs.
    """

    output: Path
    root: str = ""
    published: bool = False
    opts: tuple[str, ...] = ()

    def command(self, run: Run) -> list[str]:
        """The run as arguments of train.py."""
        words = ["--trainer", run.method, "--backbone", run.backbone, "--dataset", run.dataset]
        words += ["--root", self.root] if self.root else []
        words += ["--published"] if self.published else []
        words += ["--protocol", run.protocol, "--shots", str(max(run.shots, 1)), "--seed", str(run.seed)]
        words += ["--accept-unread"] if self.opts else []  # the pairs serve all methods of the sweep
        return [*words, "--output-dir", str(run.folder(self.output)), *self.opts]


def is_complete(folder: str | Path) -> bool:
    return os.path.isfile(f"{folder}/{MARKER}")


def read_results(folder: Path) -> dict:
    """The results of a complete run; files that cannot be read are an InputError that names them."""
    try:
        return read_json(str(folder / RESULTS_FILE))
    except (OSError, json.JSONDecodeError) as error:
        raise InputError(
            f"'{folder / RESULTS_FILE}' cannot be read ({error}); delete the folder to run again"
        ) from error


def write_results(folder: Path, results: dict) -> None:
    """Write the results, then the marker."""
    write_json(results, str(folder / RESULTS_FILE))
    with atomic_path(folder / MARKER) as temporary:
        temporary.write_text("")


def with_harmonic_mean(metrics: dict[str, dict]) -> dict:
    """Metrics by the classes they are of; with base and new, also H of their accuracies."""
    if {"base", "new"} <= metrics.keys():
        return {**metrics, "H": harmonic(metrics["base"]["accuracy"], metrics["new"]["accuracy"])}
    return metrics


def headline(results: dict) -> str:
    """The accuracies in one line."""
    metrics = results["metrics"]
    if list(metrics) == ["all"]:
        return f"accuracy {metrics['all']['accuracy']:.2f} %"
    parts = [f"{name} {m['accuracy']:.2f} %" for name, m in metrics.items() if isinstance(m, dict)]
    if "H" in metrics:
        parts.append(f"H {metrics['H']:.2f} %")
    return "accuracy: " + ", ".join(parts)


def clear_folder(folder: Path) -> None:
    """Remove a run's folder, and nothing that is not one."""
    known = (RESULTS_FILE, MARKER, "config.yaml", "log.txt")
    if not any((folder / name).exists() for name in known) and any(folder.iterdir()):
        raise InputError(f"--overwrite: '{folder}' does not look like a run's folder; it is left alone")
    shutil.rmtree(folder)


def refuse_other_settings(settings: str, folder: Path) -> None:
    """Refuse a folder whose run was made with other settings (yaml text), showing the difference."""
    stored = folder / "config.yaml"
    if is_complete(folder) and not stored.is_file():
        raise InputError(
            f"'{folder}' holds a result without its settings, as imported ones are; choose another output folder"
        )
    started = is_complete(folder) or (folder / "checkpoint.pth").is_file()
    if not started or not stored.is_file():
        return
    old, new = _effective(parse_yaml(stored.read_text())), _effective(parse_yaml(settings))
    if old != new:
        lines = difflib.unified_diff(old, new, "stored", "asked for", n=0, lineterm="")
        difference = "\n".join(line for line in lines if not line.startswith("@@"))
        raise InputError(
            f"'{folder}' holds a run with other settings; --overwrite replaces it, --output-dir keeps it:\n{difference}"
        )


def _effective(settings: dict, prefix: str = "") -> list[str]:
    """The settings that have an effect, one line each."""
    lines = []
    for key, value in sorted(settings.items()):
        if isinstance(value, dict):
            lines += _effective(value, f"{prefix}{key}.")
        elif f"{prefix}{key}" not in WITHOUT_EFFECT:
            lines.append(f"{prefix}{key}: {json.dumps(value)}")
    return lines
