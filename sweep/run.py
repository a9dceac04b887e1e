"""One run as a value: what it is, where it lies on disk, whether it is complete."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from dassl.errors import InputError
from dassl.utils import atomic_path, read_json, write_json

RESULTS_FILE = "results.json"
MARKER = "COMPLETE"  # written last; a run without it is not a result


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
