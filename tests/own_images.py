"""Small image folders of one's own, for tests of the data set Folder."""

import json

from PIL import Image

from configs import Choice, build_cfg
from dassl.data.datasets import build_dataset


def write_image(path, shade, size=8):
    """A grey image whose content depends on the shade, from 0 to 2 ** 24."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (size, size), (shade % 256, shade // 256 % 256, shade // 65536)).save(path)


def write_images(root, paths, below="Mine/Mine"):
    """Images of different content at paths below a folder."""
    for shade, path in enumerate(paths):
        write_image(root / below / path, shade)
    return root


def class_folders(root, counts):
    """A data root with class folders of images: class_folders(root, {"a": 10, "b": 10})."""
    return write_images(root, [f"{name}/{k:02d}.png" for name, count in counts.items() for k in range(count)])


def write_split(root, train, val, test, **more):
    path = root / "Mine" / "split_Mine.json"
    path.write_text(json.dumps({"train": train, "val": val, "test": test, **more}))
    return path


def write_manifest(root, *lines, **words):
    path = root / "Mine" / "images.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", **words)
    return path


def settings(root, *opts, shots=-1, trainer="ZeroShot", **words):
    own = ["DATASET.NAME", "Folder", "DATASET.FOLDER", "Mine", "DATASET.NUM_SHOTS", shots]
    return build_cfg(Choice(trainer, root=str(root), opts=[*map(str, (*own, *opts))], **words))


def dataset(root, *opts, **words):
    """The data set Folder of the images in <root>/Mine, with settings."""
    return build_dataset(settings(root, *opts, **words))


def paths_of(items):
    """The last two parts of the paths of images."""
    return ["/".join(item.impath.split("/")[-2:]) for item in items]
