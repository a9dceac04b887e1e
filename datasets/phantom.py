"""The built-in data set. Its images are generated once and then read from disk, like those of other data sets."""

import os
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


def generate(image_dir: Path, classnames: tuple[str, ...]) -> None:
    """Generate all images in a temporary folder and rename it, so that an interrupt leaves no incomplete data set."""
    from datasets.phantom_render import SONOGRAM, render  # scipy takes half a second to import

    image_dir.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".phantom-", dir=image_dir.parent))
    try:
        for label, name in enumerate(tqdm(classnames, desc="generating phantom images", unit="class")):
            folder = temporary / name.replace(" ", "_")
            folder.mkdir()
            finding, tissue = name.removesuffix(" tissue").split(" in ")
            for k in range(IMAGES_PER_CLASS):
                rng = np.random.default_rng((SEED, label, k))
                Image.fromarray(render(tissue, finding, SONOGRAM, rng)).save(folder / f"phantom_{k:03d}.png")
        os.chmod(temporary, 0o755)
        try:
            os.replace(temporary, image_dir)
        except OSError:
            if not image_dir.is_dir():  # otherwise another process generated the same images first
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
