"""The built-in data set. Its images are generated once and then read from disk, like those of other data sets."""

import os
import re
import shutil
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm
from yacs.config import CfgNode

from dassl.data.datasets import DATASET_REGISTRY
from datasets.folder import FolderDataset

IMAGES_PER_CLASS = 160
SEED = 2025
_NAME = re.compile(r"phantom_(\d{3})\.png", re.ASCII)


@DATASET_REGISTRY.register()
class Phantom(FolderDataset):
    """Generated, scan-like images of four findings in two tissues: 8 classes with 80 / 32 / 48 images each.

    In the base-to-new protocol the new classes show two findings that the base classes do not contain.
    """

    folder = "Phantom"
    prompts = "phantom"
    classes = (
        "cyst in fatty tissue",
        "cyst in fibrous tissue",
        "solid nodule in fatty tissue",
        "solid nodule in fibrous tissue",
        "stellate mass in fatty tissue",
        "stellate mass in fibrous tissue",
        "calcified cluster in fatty tissue",
        "calcified cluster in fibrous tissue",
    )

    def prepare(self, cfg: CfgNode) -> None:
        if not self.image_dir.is_dir():
            generate(self.image_dir, self.classes)

    @classmethod
    def how_to_get(cls) -> str:
        return f"The images are generated: delete the folder '{cls.folder}' to generate them again."

    @classmethod
    def lesion_mask(cls, path: Path) -> np.ndarray | None:
        """Return the mask (160, 160), bool, of a generated image, from its folder and name; None for other images."""
        from datasets.phantom_render import SONOGRAM, lesion

        folders, match = [_folder_name(name) for name in cls.classes], _NAME.fullmatch(path.name)
        if path.parent.name not in folders or not match or int(match[1]) >= IMAGES_PER_CLASS:
            return None
        label = folders.index(path.parent.name)
        return lesion(*_tissue_and_finding(cls.classes[label]), SONOGRAM, _stream(label, int(match[1])))


def _folder_name(classname: str) -> str:
    return classname.replace(" ", "_")


def _tissue_and_finding(classname: str) -> tuple[str, str]:
    finding, tissue = classname.removesuffix(" tissue").split(" in ")
    return tissue, finding


def _stream(label: int, number: int) -> np.random.Generator:
    """The random numbers of one image."""
    return np.random.default_rng((SEED, label, number))


def generate(image_dir: Path, classnames: tuple[str, ...]) -> None:
    """Generate all images in a temporary folder and rename it, so that an interrupt leaves no incomplete data set."""
    from datasets.phantom_render import SONOGRAM, render  # scipy takes half a second to import

    image_dir.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".phantom-", dir=image_dir.parent))
    try:
        for label, name in enumerate(tqdm(classnames, desc="generating phantom images", unit="class")):
            folder = temporary / _folder_name(name)
            folder.mkdir()
            for k in range(IMAGES_PER_CLASS):
                image = render(*_tissue_and_finding(name), SONOGRAM, _stream(label, k))
                Image.fromarray(image).save(folder / f"phantom_{k:03d}.png")
        os.chmod(temporary, 0o755)
        try:
            os.replace(temporary, image_dir)
        except OSError:
            if not image_dir.is_dir():  # otherwise another process generated the same images first
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
