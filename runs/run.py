"""A run as a value: what it is called and where its files lie."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from dassl.errors import InputError

_NOT_IN_FOLDER_NAMES = frozenset('/\\:*?"<>|')


ALL_SHOTS = -1  # Dassl's number for all training images


@dataclass(frozen=True, order=True)
class Run:
    """The name of a run. A method that learns nothing has shots 0 and seed 1: one run serves all cells of a table.

    Attributes:
        shots: training images per class; ALL_SHOTS for all of them.
        fold: the part of the images that is tested, from 1; 0 without cross-validation.
    """

    protocol: str
    dataset: str
    backbone: str
    method: str
    shots: int
    seed: int
    fold: int = 0

    def folder(self, output: str | Path) -> Path:
        """The folder of the run's files."""
        return Path(self.path(output))

    def path(self, output: str | Path) -> str:
        """The same folder as text, which is faster to make where there are thousands."""
        shots = "allshots" if self.shots == ALL_SHOTS else f"{self.shots}shots"
        path = f"{output}/{self.protocol}/{self.dataset}/{self.backbone}/{self.method}/{shots}/seed{self.seed}"
        return f"{path}/fold{self.fold}" if self.fold else path

    def as_dict(self) -> dict:
        """The name as it is written to files, without a fold where there is none."""
        return {name: value for name, value in asdict(self).items() if name != "fold" or value}

    def __str__(self) -> str:
        return self.described(f"{shots_in_words(self.shots)}, seed {self.seed}" if self.shots else "any shots and seed")

    def described(self, cells: str) -> str:
        """The run in words, with the shots and seeds that it stands for."""
        fold = f"fold {self.fold}, " if self.fold else ""
        return f"{self.method} on {self.dataset} ({self.backbone}, {self.protocol}, {fold}{cells})"


def shots_in_words(*shots: int) -> str:
    """Numbers of shots, such as "1, 16 shots and all images"."""
    numbers = ", ".join(str(number) for number in shots if number != ALL_SHOTS)
    return " and ".join([f"{numbers} shots"] * bool(numbers) + ["all images"] * (ALL_SHOTS in shots))


def in_order(shots: Iterable[int]) -> list[int]:
    """Numbers of shots once each, from the smallest; all images come last."""
    return sorted(set(shots), key=lambda number: (number == ALL_SHOTS, number))


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
