"""A run as a value: what it is called and where its files lie."""

from dataclasses import asdict, dataclass
from pathlib import Path

from dassl.errors import InputError

_NOT_IN_FOLDER_NAMES = frozenset('/\\:*?"<>|')


@dataclass(frozen=True, order=True)
class Run:
    """The name of a run. A method that learns nothing has shots 0 and seed 1: one run serves all cells of a table."""

    protocol: str
    dataset: str
    backbone: str
    method: str
    shots: int
    seed: int

    def folder(self, output: str | Path) -> Path:
        """The folder of the run's files."""
        return Path(self.path(output))

    def path(self, output: str | Path) -> str:
        """The same folder as text, which is faster to make where there are thousands."""
        names = f"{self.protocol}/{self.dataset}/{self.backbone}/{self.method}"
        return f"{output}/{names}/{self.shots}shots/seed{self.seed}"

    def as_dict(self) -> dict:
        return asdict(self)

    def __str__(self) -> str:
        about = f"{self.backbone}, {self.protocol}, {self.shots} shots, seed {self.seed}"
        return f"{self.method} on {self.dataset} ({about})"


def dataset_name(path: str) -> str:
    """The name of the data set that a yaml file describes: the file's name without the ending.

    Raises:
        InputError: the name cannot be used for a folder.
    """
    name = Path(path).stem
    if name.startswith(".") or not name.isprintable() or _NOT_IN_FOLDER_NAMES & set(name):
        raise InputError(
            f"'{path}': the data set and the folder of its runs are named after this file; "
            f"rename it so that it does not begin with '.' and has none of {' '.join(sorted(_NOT_IN_FOLDER_NAMES))}"
        )
    return name
