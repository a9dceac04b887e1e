"""How much of a map over patches lies in the lesion.

Every measure takes `values` (…, rows, columns), not negative, of one or more maps; `inside` (rows, columns), the share
of each patch that is lesion, 0 to 1; and `counted` (rows, columns), bool: other patches are left out. It returns an
array (…,), float64, with NaN where it is not defined. The inputs may be arrays or tensors of the CPU.

A patch is called a lesion patch if at least half of it is lesion. Where the lesion is too small for that, the patches
with the largest share are.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from evidence.results import MEASURES

TOLERANCE = 1.0  # patches
HALF = 0.5


def measure_maps(values: ArrayLike, inside: ArrayLike, counted: ArrayLike) -> list[dict[str, float | None]]:
    """All MEASURES of each of M maps (M, rows, columns) of one image; None where one is not defined."""
    values = np.asarray(values, dtype=np.float64)
    found = {name: FUNCTIONS[name](values, inside, counted).tolist() for name in MEASURES}
    return [
        {name: None if np.isnan(column[k]) else column[k] for name, column in found.items()} for k in range(len(values))
    ]


def mass(values: ArrayLike, inside: ArrayLike, counted: ArrayLike) -> np.ndarray:
    """Share of the map that lies in the lesion: Σ a·m / Σ a over the counted patches, a the map and m `inside`.

    Not defined for a map that is 0, and where no counted patch has lesion. With masks of 0 and 1 this is the relevance
    mass accuracy of Arras et al., Information Fusion 81, 2022.
    """
    a, m = _counted(values, counted), _counted(inside, counted)
    total = a.sum(axis=-1)
    if not m.any():
        return np.full(total.shape, np.nan)
    return np.divide(a @ m, total, out=np.full(total.shape, np.nan), where=total > 0)


def enrichment(values: ArrayLike, inside: ArrayLike, counted: ArrayLike) -> np.ndarray:
    """`mass` divided by the share of the counted patches that is lesion; 1 for a map that is the same everywhere."""
    m = _counted(inside, counted)
    return mass(values, inside, counted) / (m.mean() if m.any() else np.nan)


def pointing(values: ArrayLike, inside: ArrayLike, counted: ArrayLike, tolerance: float = TOLERANCE) -> np.ndarray:
    """1 if the largest counted value lies in a lesion patch or near one, otherwise 0.

    Near: the centres of the two patches are at most `tolerance` patches apart (Euclidean). If several patches have the
    largest value, it is the share of them that hit, which is the expected result if one of them is drawn. The pointing
    game of Zhang et al., arXiv 1608.00507, where the tolerance is 15 pixels.
    """
    from scipy.ndimage import distance_transform_edt

    a, lesion = _counted(values, counted), lesion_patches(inside, counted)
    if not lesion.any():
        return np.full(a.shape[:-1], np.nan)
    near = _counted(distance_transform_edt(~lesion) <= tolerance + 1e-9, counted)
    largest = a == a.max(axis=-1, keepdims=True)
    return (largest & (near > 0)).sum(axis=-1) / largest.sum(axis=-1)


def iou(values: ArrayLike, inside: ArrayLike, counted: ArrayLike) -> np.ndarray:
    """Intersection over union of the n lesion patches with the n counted patches that have the largest values.

    If patches have the same value and not all of them are among the first n, each counts with the same share.
    """
    a, lesion = _counted(values, counted), _counted(lesion_patches(inside, counted), counted) > 0
    n = int(lesion.sum())
    if not n:
        return np.full(a.shape[:-1], np.nan)
    last = np.partition(a, -n, axis=-1)[..., -n, None]  # the n-th largest value
    above, level = a > last, a == last
    share = (n - above.sum(axis=-1)) / level.sum(axis=-1)
    both = (above & lesion).sum(axis=-1) + share * (level & lesion).sum(axis=-1)
    return both / (2 * n - both)


def auroc(values: ArrayLike, inside: ArrayLike, counted: ArrayLike) -> np.ndarray:
    """How well the values tell lesion patches from the other counted patches: the area under the ROC curve.

    The probability that a lesion patch has a larger value than another patch; equal values count half (Mann and
    Whitney, Ann. Math. Statist. 18, 1947). Not defined where all counted patches are lesion patches.
    """
    from scipy.stats import rankdata

    a, lesion = _counted(values, counted), _counted(lesion_patches(inside, counted), counted) > 0
    n, others = int(lesion.sum()), int((~lesion).sum())
    if not n or not others:
        return np.full(a.shape[:-1], np.nan)
    ranks = rankdata(a, axis=-1)[..., lesion].sum(axis=-1)
    return (ranks - n * (n + 1) / 2) / (n * others)


def lesion_patches(inside: ArrayLike, counted: ArrayLike) -> np.ndarray:
    """The lesion patches among the counted ones, (rows, columns), bool; none where no counted patch has lesion."""
    share = np.where(np.asarray(counted, dtype=bool), np.asarray(inside, dtype=np.float64), 0)
    return (share >= min(HALF, share.max())) & (share > 0)


def _counted(grid: ArrayLike, counted: ArrayLike) -> np.ndarray:
    """The counted patches (…, N), float64, of grids (…, rows, columns)."""
    return np.asarray(grid, dtype=np.float64)[..., np.asarray(counted, dtype=bool)]


FUNCTIONS: dict[str, Callable[..., np.ndarray]] = {
    "mass": mass,
    "enrichment": enrichment,
    "pointing": pointing,
    "iou": iou,
    "auroc": auroc,
}
