"""From the grid of an image tower to the whole picture: the inverse of the test transform's resizing and cropping."""

import torch
from torch import Tensor


def seen_interval(length: int, shorter: int, resized: int, cropped: int) -> tuple[float, float]:
    """What remains of one side of a picture after Resize and CenterCrop, in pixels of the picture.

    Args:
        length: of the side.
        shorter: length of the picture's shorter side.
        resized: to what the shorter side is resized.
        cropped: what the side is cropped to.
    """
    after = int(resized * length / shorter)  # torchvision rounds down
    start = round((after - cropped) / 2)
    return start * length / after, (start + cropped) * length / after


def over_picture(grid: Tensor, seen: Tensor, size: tuple[int, int], crop: tuple[int, int]) -> Tensor:
    """Scale a grid to [0, 1] and spread it bilinearly over the whole picture.

    Args:
        grid: (rows, columns), not negative; divided by its maximum.
        seen: (rows, columns), bool; the area of the other cells is 0.
        size: height and width of the picture.
        crop: height and width of the tower's input, as in INPUT.SIZE.

    Returns:
        (height, width), fp32; 0 outside of the cropped part.
    """
    grid, seen = grid.float().cpu(), seen.cpu()
    grid = grid / grid.max() if grid.max() > 0 else grid
    sides = [
        _places(length, *seen_interval(length, min(size), max(crop), cropped), cells)
        for length, cropped, cells in zip(size, crop, grid.shape, strict=True)
    ]
    rows, columns = (_linear(places, cells) for places, cells in zip(sides, grid.shape, strict=True))
    spread = (rows @ grid @ columns.T).clamp(0, 1)
    if not seen.all():
        nearest = [places.round().long().clamp(0, cells - 1) for places, cells in zip(sides, grid.shape, strict=True)]
        spread[~seen[nearest[0]][:, nearest[1]]] = 0
    return spread


def _places(length: int, start: float, stop: float, cells: int) -> Tensor:
    """The place of each pixel's centre (length,) in a grid whose cells have their centres at 0, 1, …"""
    centres = torch.arange(length, dtype=torch.float64) + 0.5
    return (centres - start) / (stop - start) * cells - 0.5


def _linear(places: Tensor, cells: int) -> Tensor:
    """The weight (pixels, cells) of each cell for each pixel; 0 outside of the grid."""
    inside = (places >= -0.5) & (places <= cells - 0.5)
    distances = (places.clamp(0, cells - 1)[:, None] - torch.arange(cells)).abs()
    return ((1 - distances).clamp(min=0) * inside[:, None]).float()
