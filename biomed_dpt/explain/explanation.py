"""A map over a picture, as an array and as an overlay."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from biomed_dpt.explain.evidence import Evidence
from biomed_dpt.explain.geometry import over_picture
from dassl.errors import InputError
from dassl.utils import atomic_path

COLOURS = "turbo"


@dataclass(frozen=True)
class Explanation:
    """What the score of a class rests on in one picture.

    Attributes:
        map: (height, width) of the whole picture, fp32, from 0 to 1, which is the largest value of the grid; 0 where
            the image tower read nothing.
        grid: (rows, columns), fp32: the explainer's values on the grid of the image tower, not scaled.
        logits: (C,), fp32, of all classes, before the temperature.
        classname: the class that is explained.
        explainer: the name of the explainer.
        picture: the whole RGB picture.
    """

    map: np.ndarray = field(repr=False)
    grid: np.ndarray = field(repr=False)
    logits: np.ndarray = field(repr=False)
    classname: str
    explainer: str
    picture: Image.Image

    @classmethod
    def of(
        cls, evidence: Evidence, picture: Image.Image, classname: str, explainer: str, crop: tuple[int, int]
    ) -> "Explanation":
        """Make it from what an explainer found; `crop` is height and width of the tower's input."""
        spread = over_picture(evidence.grid, evidence.seen, (picture.height, picture.width), crop)
        return cls(
            spread.numpy(), evidence.grid.cpu().numpy(), evidence.logits.cpu().numpy(), classname, explainer, picture
        )

    def overlay(self, opacity: float = 0.6) -> Image.Image:
        """The picture with the map in colours over it; `opacity` is that of the map's largest value, 0 of value 0."""
        from matplotlib import colormaps  # takes long to import

        table = (colormaps[COLOURS](np.arange(256))[:, :3] * 255).round().astype(np.uint8)
        levels = (self.map * 255).round().astype(np.uint8)
        mask = (np.arange(256) * opacity).round().astype(np.uint8)[levels]
        return Image.composite(Image.fromarray(table[levels]), self.picture, Image.fromarray(mask))

    def save(self, path: str | Path) -> None:
        """Write the overlay as a PNG file.

        Raises:
            InputError: the name does not end with .png, or the file cannot be written.
        """
        refuse_other_suffix(path, ".png")
        with atomic_path(path) as temporary:
            self.overlay().save(temporary, format="PNG")

    def save_array(self, path: str | Path) -> None:
        """Write the map as a NumPy file.

        Raises:
            InputError: the name does not end with .npy, or the file cannot be written.
        """
        refuse_other_suffix(path, ".npy")
        with atomic_path(path) as temporary, open(temporary, "wb") as file:
            np.save(file, self.map)


def refuse_other_suffix(path: str | Path, suffix: str) -> None:
    """An InputError where a file's name does not end with a suffix."""
    if Path(path).suffix.lower() != suffix:
        raise InputError(f"'{path}' must end with {suffix}, the format that is written")
