"""The lesion masks of images: where they are, how they are read, and how they line up with what an image tower sees."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from dassl.data.datasets import DatasetBase
from dassl.errors import InputError
from datasets.images import PILLOW_SUFFIXES, ImageReader
from datasets.layout import MASK_NAME

if TYPE_CHECKING:
    from torch import Tensor

LARGEST_BACKGROUND = 127  # grey levels above it are lesion


class Masks:
    """Finds and reads the masks of images. Several masks of one image are united.

    With a masks folder, the masks of CLASS/x.jpg are CLASS/x.png, CLASS/x_mask.png, CLASS/x_mask_1.png … in it; any
    format that Pillow reads will do. Without one, the data set's own `lesion_mask` is asked, and then x_mask.png,
    x_mask_1.png … beside the image are looked for, as in the archive of BUSI.

    Args:
        dataset: the data set.
        images: paths of all images that masks are needed of.
        reader: reads the data set's images. Masks are read alike, and refused if they have more than 8 bits; a
            reader of one's own is not used for them.
        root: the data root.
        folder: the masks folder, below the data root or, if there is none, below the working directory; "" for none.

    Raises:
        InputError: there is no such folder, or not one image has a mask.
    """

    def __init__(
        self,
        dataset: DatasetBase,
        images: Sequence[str],
        reader: Callable[[str], Image.Image],
        root: str | Path,
        folder: str = "",
    ):
        self._image_dir = getattr(dataset, "image_dir", None)
        self._own = getattr(dataset, "lesion_mask", None)  # data sets written against Dassl alone have neither
        self._reader = replace(reader if isinstance(reader, ImageReader) else ImageReader(), depth="refuse")
        self._listings: dict[Path, dict[tuple[str, bool], list[Path]]] = {}
        self._folder = _existing(folder, Path(root).expanduser()) if folder else None
        if not any(self.files(image) or self._known(image) is not None for image in images):
            raise InputError(self._nothing_found(dataset, images))

    def mask(self, image: str, picture: Image.Image) -> np.ndarray | None:
        """Which pixels (height, width), bool, of an image are lesion; None if it has no mask.

        A pixel of a mask file is lesion if its brightest channel is above 127 or, in a file that has no values but 0
        and 1, if it is 1.

        Args:
            image: the path of the image.
            picture: the image as the reader returns it.

        Raises:
            InputError: a mask cannot be read, is neither black and white nor 0 and 1, or has another size than the
                picture.
        """
        files, size = self.files(image), (picture.height, picture.width)
        masks = {f"mask '{file}'": self._read(file) for file in files}
        if not files and (own := self._known(image)) is not None:
            masks["the data set's mask"] = own
        for name, mask in masks.items():
            if mask.shape != size:
                raise InputError(
                    f"{name} has {_pixels(mask.shape)}, and its image '{image}' has {_pixels(size)} as it is read; "
                    "make the mask of this image (INPUT.ORIENTATION says whether its EXIF orientation is applied)"
                )
        return np.logical_or.reduce(list(masks.values())) if masks else None

    def files(self, image: str) -> list[Path]:
        """The mask files of an image, sorted by name."""
        path = Path(image)
        folder = self._folder / self._class_folder(path) if self._folder else path.parent
        if folder not in self._listings:
            self._listings[folder] = _listed(folder)
        files = self._listings[folder].get((path.stem, True), [])
        if self._folder:
            files = files + self._listings[folder].get((path.stem, False), [])
        return sorted(file for file in files if not _same(file, path))

    def _class_folder(self, path: Path) -> Path:
        if self._image_dir and path.is_relative_to(self._image_dir):
            return path.parent.relative_to(self._image_dir)
        return Path(path.parent.name)

    def _known(self, image: str) -> np.ndarray | None:
        return self._own(Path(image)) if self._own and self._folder is None else None

    def _read(self, file: Path) -> np.ndarray:
        levels = np.asarray(self._reader(str(file))).max(axis=2)
        largest = int(levels.max())
        if 1 < largest <= LARGEST_BACKGROUND:
            raise InputError(
                f"mask '{file}' has grey levels up to {largest}; store it with 0 outside of the lesion and 255 inside"
            )
        return levels == 1 if largest == 1 else levels > LARGEST_BACKGROUND

    def _nothing_found(self, dataset: DatasetBase, images: Sequence[str]) -> str:
        name = type(dataset).__name__
        if not images:
            return f"there are no images of {name} to find masks of"
        path = Path(images[0])
        folder = self._folder / self._class_folder(path) if self._folder else path.parent
        names = [f"{path.stem}.png"] * bool(self._folder) + [f"{path.stem}_mask.png", f"{path.stem}_mask_1.png"]
        listed = " or ".join(f"'{folder / mask}'" for mask in names)
        hint = "" if self._folder else "; name the folder of the masks with --masks"
        return f"no image of {name} has a mask; for '{path}' it was looked for as {listed}{hint}"


def seen(mask: np.ndarray, size: tuple[int, int]) -> "Tensor":
    """What an image tower sees of a mask: resized and cropped as the test transform does with the image.

    Args:
        mask: (h, w), bool, of the whole image.
        size: height and width of the tower's input, as in INPUT.SIZE.

    Returns:
        (height, width), fp32: the share of each pixel that is lesion, 0 to 1 (bilinear with antialiasing).
    """
    import torch
    from torchvision.transforms import CenterCrop, Resize

    share = Resize(max(size), antialias=True)(torch.from_numpy(mask).float()[None])
    return CenterCrop(size)(share)[0].clamp(0, 1)


def on_grid(share: "Tensor", rows: int, columns: int) -> "Tensor":
    """The share of each patch (rows, columns), fp32, that is lesion, from the share of each pixel (height, width)."""
    from torch.nn import functional as F

    return F.adaptive_avg_pool2d(share.float()[None], (rows, columns))[0]


def _existing(given: str, root: Path) -> Path:
    """The masks folder: the given path below the data root, or else as it is."""
    path = Path(given).expanduser()
    for place in (root / path, path):
        if place.is_dir():
            return place
    raise InputError(f"there is no masks folder '{root / path}'" + ("" if path.is_absolute() else f" and no '{path}'"))


def _listed(folder: Path) -> dict[tuple[str, bool], list[Path]]:
    """The image files of a folder by the image that they are named after, and whether they are named as its mask."""
    found = defaultdict(list)
    try:
        files = sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        files = []
    except OSError as error:
        raise InputError(f"'{folder}' cannot be searched for masks: {error.strerror}") from error
    for file in files:
        if file.suffix.lower() in PILLOW_SUFFIXES and not file.name.startswith("."):
            image = MASK_NAME.sub("", file.stem)
            found[image, image != file.stem].append(file)
    return found


def _same(file: Path, other: Path) -> bool:
    return file.name == other.name and file.samefile(other)


def _pixels(shape: tuple[int, ...]) -> str:
    return f"{shape[1]} × {shape[0]} pixels"
