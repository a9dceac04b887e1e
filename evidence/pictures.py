"""Writes a few images with their masks and maps, for the gallery of the report."""

from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import save
from torch import Tensor

from dassl.utils import atomic_path
from evidence.results import MAPS_FILE, PICTURES, Results
from evidence.subject import Subject


def choose(results: Results, per_class: int) -> dict[int, str]:
    """The first images with a lesion of each class, and a name for the files of each."""
    chosen: list[int] = []
    for label in range(len(results.classnames)):
        chosen += [k for k in results.with_lesion() if results.images[k].label == label][:per_class]
    return {index: f"image{number}" for number, index in enumerate(chosen, start=1)}


def write_pictures(subject: Subject, pictures: dict[int, str], folder: Path) -> None:
    """Write <name>.png, what the image tower sees, and <name>-mask.png into `pictures/`, and all maps into one file.

    The maps (side, side), fp32, have the keys "<name>/<condition>/<map>".

    Args:
        subject: what was measured; its maps come from the cache.
        pictures: index of the image -> name.
        folder: of the results.
    """
    maps: dict[str, Tensor] = {}
    for index, name in pictures.items():
        mask = subject.lesions[subject.items[index].impath]
        _write(_as_picture(subject.pixels(index), subject), folder / PICTURES / f"{name}.png")
        _write(Image.fromarray((255 * (mask >= 0.5)).byte().numpy()), folder / PICTURES / f"{name}-mask.png")
        for condition, (_, prompt) in subject.prompts.items():
            (entry,) = subject.encoded([index], prompt)
            for map_name, values in zip(subject.maps, entry["maps"].cpu(), strict=True):
                maps[f"{name}/{condition}/{map_name}"] = values.contiguous()
    with atomic_path(folder / MAPS_FILE) as temporary:
        temporary.write_bytes(save(maps))


def _as_picture(pixels: Tensor, subject: Subject) -> Image.Image:
    """The RGB picture of normalised pixels (3, S, S)."""
    backbone = subject.encoder.backbone
    mean, std = (torch.tensor(values)[:, None, None] for values in (backbone.pixel_mean, backbone.pixel_std))
    levels = (255 * (pixels.cpu() * std + mean)).round().clamp(0, 255).byte()
    return Image.fromarray(levels.permute(1, 2, 0).numpy())


def _write(picture: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        picture.save(temporary, format="PNG")
