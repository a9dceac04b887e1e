"""One run as a value: what it is, where it lies on disk, whether it is complete."""

import difflib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import yaml

from dassl.errors import InputError
from dassl.utils import atomic_path, read_json, write_json

RESULTS_FILE = "results.json"
MARKER = "COMPLETE"  # written last; a run without it is not a result
# Settings that may differ between a stored run and its continuation: they do not change the numbers.
WITHOUT_EFFECT = {"OUTPUT_DIR", "RESUME", "USE_CUDA", "VERBOSE", "DATASET.ROOT", "TRAIN.PRINT_FREQ"}
WITHOUT_EFFECT |= {"DATALOADER.NUM_WORKERS"}


@dataclass(frozen=True, order=True)
class Run:
    """A run by its everyday words; methods that learn nothing have shots 0 and seed 1 (`sweep.plan`)."""

    protocol: str
    dataset: str
    backbone: str
    method: str
    shots: int
    seed: int

    def folder(self, output: str | Path) -> Path:
        """Where the run's files lie."""
        return (
            Path(output) / self.protocol / self.dataset / self.backbone / self.method
            / f"{self.shots}shots" / f"seed{self.seed}"
        )  # fmt: skip

    def as_dict(self) -> dict:
        return asdict(self)

    def __str__(self) -> str:
        about = f"{self.backbone}, {self.protocol}, {self.shots} shots, seed {self.seed}"
        return f"{self.method} on {self.dataset} ({about})"


def is_complete(folder: Path) -> bool:
    return (folder / MARKER).is_file()


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


def refuse_other_settings(settings: str, folder: Path) -> None:
    """Refuse a folder whose run was made with other settings (yaml text), showing the difference."""
    stored = folder / "config.yaml"
    started = is_complete(folder) or (folder / "checkpoint.pth").is_file()
    if not started or not stored.is_file():
        return
    old, new = _effective(yaml.safe_load(stored.read_text())), _effective(yaml.safe_load(settings))
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
