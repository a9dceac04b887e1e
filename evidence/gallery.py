"""Draws a sheet of images: the lesion's outline, and maps without and with a visual prompt."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from dassl.errors import first_line
from evidence.figures import Figure, empty_figure, save
from evidence.results import MAPS_FILE, NO_PROMPT, PICTURES, Results
from evidence.summary import claims, main_map
from sweep.report.escape import one_line

LARGEST = 4096  # pixels of a side
SIDE = 1.12  # inches of a picture
OPACITY = 0.6
OUTLINE = "#00E5FF"
GALLERY = Figure(
    "gallery",
    "Images",
    "The picture that the tower reads with the outline of its lesion, and maps over it without and with a prompt. The "
    "maps of one explainer in a row share their colours; a patch that a prompt replaces has the value 0.",
)


@dataclass(frozen=True)
class Shown:
    """An image of the gallery.

    Attributes:
        title: its class.
        picture: (S, S, 3), uint8.
        mask: (S, S), bool.
        maps: by condition and map, (rows, columns), fp32.
    """

    title: str
    picture: np.ndarray
    mask: np.ndarray
    maps: Mapping[tuple[str, str], np.ndarray]


def draw_gallery(results: Results, folder: Path, to: Path) -> tuple[list[Figure], list[str]]:
    """Draw the sheet from the pictures and maps in the folder of a measurement.

    Args:
        results: names the pictures.
        folder: that of results.json.
        to: the folder of the figure.

    Returns:
        the figure, or nothing where there are no pictures; and a line about each picture that cannot be shown.
    """
    keys = _columns(results)
    shown, problems = [], []
    try:
        maps = _read_maps(results, folder, keys) if results.pictures else {}
    except (OSError, ValueError) as error:
        return [], [f"{MAPS_FILE} cannot be used ({first_line(error)})"]
    for index, name in sorted(results.pictures.items(), key=lambda item: (results.images[item[0]].label, item[0])):
        try:
            shown.append(_read(results, index, name, folder / PICTURES, maps))
        except (OSError, ValueError, Image.DecompressionBombError) as error:
            problems.append(f"picture {name}: {first_line(error)}")
    drawn = save(lambda: _sheet(shown, keys), to, GALLERY.name) if shown else False
    return [GALLERY] if drawn else [], problems


def _columns(results: Results) -> list[tuple[str, str]]:
    """Condition and map of each column: the main map and one of the true class, without and with the prompts."""
    names = [main_map(results), *(str(name) for name in results.maps if name.target == "true")][:2]
    conditions = [NO_PROMPT, *(condition.name for condition in claims(results))]
    return [(condition, name) for name in names for condition in conditions]


def _read_maps(results: Results, folder: Path, keys: Sequence[tuple[str, str]]) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError, safe_open

    found = {}
    wanted = {f"{name}/{condition}/{of_map}" for name in results.pictures.values() for condition, of_map in keys}
    try:
        with safe_open(folder / MAPS_FILE, framework="numpy") as file:
            for key in wanted & set(file.keys()):
                found[key] = file.get_tensor(key)
    except SafetensorError as error:
        raise ValueError(first_line(error)) from error
    return found


def _read(results: Results, index: int, name: str, folder: Path, maps: Mapping[str, np.ndarray]) -> Shown:
    picture, mask = _pixels(folder / f"{name}.png", "RGB"), _pixels(folder / f"{name}-mask.png", "L")
    if picture.shape[:2] != mask.shape:
        raise ValueError("the picture and its mask have different sizes")
    own = {}
    for condition, of_map in _columns(results):
        values = maps.get(f"{name}/{condition}/{of_map}")
        if values is None:
            raise ValueError(f"{MAPS_FILE} has no map '{of_map}' of it under '{condition}'")
        if values.shape != tuple(results.grid) or values.dtype != np.float32 or not np.isfinite(values).all():
            raise ValueError(f"the map '{of_map}' under '{condition}' is no {results.grid} grid of numbers")
        own[condition, of_map] = values
    return Shown(results.classnames[results.images[index].label], picture, mask > 127, own)


def _pixels(path: Path, mode: str) -> np.ndarray:
    with Image.open(path, formats=["PNG"]) as image:
        if image.mode != mode or max(image.size) > LARGEST:
            raise ValueError(f"'{path.name}' is no {mode} picture of at most {LARGEST} pixels a side")
        return np.asarray(image)


def _sheet(shown: Sequence[Shown], keys: Sequence[tuple[str, str]]) -> Any:
    count = 1 + len(keys)
    figure = empty_figure(SIDE * count + 0.5, (SIDE + 0.03) * len(shown) + 0.55)
    panels = figure.subplots(len(shown), count, squeeze=False)
    figure.get_layout_engine().set(w_pad=0.015, h_pad=0.015, wspace=0, hspace=0)
    for row, image in zip(panels, shown, strict=True):
        for axes in row:
            axes.set_xticks([])
            axes.set_yticks([])
            for spine in axes.spines.values():
                spine.set_visible(False)
        _draw_row(row, image, keys)
    names = list(dict.fromkeys(of_map for _, of_map in keys))
    panels[0][0].set_title("image", fontsize=7)
    for axes, (condition, of_map) in zip(panels[0][1:], keys, strict=True):
        first = condition == NO_PROMPT
        about = f"{one_line(of_map)}\n" if first and len(names) > 1 else ""
        axes.set_title(about + ("no prompt" if first else one_line(condition)), fontsize=7, loc="left")
    return figure


def _draw_row(row: Sequence[Any], image: Shown, keys: Sequence[tuple[str, str]]) -> None:
    height, width = image.mask.shape
    row[0].imshow(image.picture)
    row[0].set_ylabel(_short(image.title), fontsize=7)
    grey = image.picture.mean(-1)
    for axes, (condition, of_map) in zip(row[1:], keys, strict=True):
        values = image.maps[condition, of_map]
        largest = max(float(found.max()) for (_, name), found in image.maps.items() if name == of_map)
        axes.imshow(grey, cmap="gray", vmin=0, vmax=255)
        place = (-0.5, width - 0.5, height - 0.5, -0.5)
        axes.imshow(
            values, cmap="inferno", vmin=0, vmax=largest or 1, alpha=OPACITY, extent=place, interpolation="nearest"
        )
    if image.mask.any() and not image.mask.all():
        for axes in row:
            axes.contour(image.mask, levels=[0.5], colors=OUTLINE, linewidths=0.8)


def _short(name: str, longest: int = 22) -> str:
    name = one_line(name)
    return name if len(name) <= longest else f"{name[: longest - 1]}…"
