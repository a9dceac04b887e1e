"""Whether a map shows what the score rests on: insertion and deletion curves."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from evidence.results import CURVES


def curve_areas(
    pixels: Tensor,
    values: Tensor,
    probability: Callable[[Tensor], Tensor],
    counted: Tensor,
    steps: int,
) -> dict[str, float]:
    """Areas under the insertion and the deletion curve of one map (RISE, Petsiuk et al., arXiv 1806.07421).

    Patches are taken in the order of the map, the largest value first, and patches with the same value in reading
    order. For deletion they are removed from the image; for insertion they are put into the image that lacks them all.
    A removed patch is 0 in normalised pixels, the mean of the images that the backbone was trained on; thus both curves
    lie between the same two images. Patches that do not count are never removed. A good map has a large area of
    insertion and a small one of deletion.

    Args:
        pixels: the image, normalised, (3, height, width).
        values: the map, (rows, columns).
        probability: gives the probability (B,) of the explained class of images (B, 3, height, width). It is called
            once, with 2 · `steps` images.
        counted: (rows, columns), bool.
        steps: a curve has this many equal steps, or one per patch where there are fewer patches.

    Returns:
        "insertion" and "deletion": the mean probability along the curve (trapezoidal rule), 0 to 1.
    """
    rank, ends = _ranks(values, counted, steps)
    order = F.interpolate(rank[None, None], size=pixels.shape[-2:], mode="nearest-exact")[0, 0].to(pixels.device)
    taken = order[None] < torch.tensor(ends, device=pixels.device, dtype=order.dtype)[:, None, None]  # (points, H, W)
    never_removed = order < 0
    inserted = pixels * (taken | never_removed)[:, None]
    deleted = pixels * (~taken | never_removed)[1:-1, None]  # its first and last image are those of the insertion
    found = probability(torch.cat([inserted, deleted])).double().cpu().numpy()
    insertion, between = found[: len(ends)], found[len(ends) :]
    deletion = np.concatenate([insertion[-1:], between, insertion[:1]])
    share = np.array(ends) / ends[-1]
    areas = [float(np.trapezoid(curve, share)) for curve in (insertion, deletion)]
    return dict(zip(CURVES, areas, strict=True))


def _ranks(values: Tensor, counted: Tensor, steps: int) -> tuple[Tensor, list[int]]:
    """The place (rows, columns) of each patch in the order, -1 if it does not count; patches taken at each point."""
    values = values.double().cpu()
    counted = counted.cpu()
    patches = int(counted.sum())
    if not patches:
        raise ValueError("no patch counts")
    rank = torch.full_like(values, -1)
    places = torch.empty(patches, dtype=values.dtype)
    places[values[counted].argsort(descending=True, stable=True)] = torch.arange(patches, dtype=values.dtype)
    rank[counted] = places
    points = min(steps, patches)
    return rank.float(), [round(k * patches / points) for k in range(points + 1)]
