"""Times predictions of a tuned full-size model against open_clip's plain encoding loop: python -m bench.predict

encoding:  the image tower alone, on pixels that are ready; the two other ways start from files.
plain:     open_clip's own transform and encode_image, with torch's DataLoader.
predict:   what predict.py does with a bundle.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from PIL import Image
from tabulate import tabulate
from torch.utils.data import DataLoader, Dataset

from bench.__main__ import _in_own_process, _machine
from bench.parts import _peak_megabytes, random_model
from biomed_dpt.prediction import predictions
from dassl.errors import exit_code

CLASSES, SHOTS = ("glioma tumor", "meningioma tumor", "normal brain", "pituitary tumor"), 16
PROMPTS = "btmri"
METHOD = "BiomedDPT"
SIDE = 512  # pixels of the images
WORKERS = 2  # of the plain loop; it has the batches of predict.py


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.predict", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--path", default="", help="folder of BiomedCLIP's weights (default: random ones are made)")
    parser.add_argument("--images", type=int, default=48, help="images of 512 x 512 pixels (default: 48)")
    parser.add_argument("--repeats", type=int, default=3, help="times each way is measured; medians are printed")
    args = parser.parse_args(argv)
    return exit_code(lambda: run(args))


def run(args: argparse.Namespace) -> None:
    # A child process inherits the peak memory of its parent: the model is made and loaded in others.
    path = args.path or str(_in_own_process(random_model))
    with tempfile.TemporaryDirectory() as folder:
        images = write_images(Path(folder) / "images", args.images)
        sizes = _in_own_process(write_bundles, path, Path(folder) / "bundles")
        bundle = str(Path(folder) / "bundles" / METHOD)
        memory = _in_own_process(first_prediction, bundle, path, images)
        seconds = throughput(bundle, path, images, args.repeats)
    print(f"\n{_machine(torch.device('cuda' if torch.cuda.is_available() else 'cpu'))}\n")
    rows = [[way, f"{args.images / took:.2f}", f"{took / seconds['encoding']:.3f}"] for way, took in seconds.items()]
    print(tabulate(rows, ["way", "images/s", "time / encoding"], tablefmt="github", disable_numparse=True))
    print(f"predict is {seconds['plain'] / seconds['predict']:.2f} times as fast as the plain loop\n")
    print(tabulate([[name, f"{value:.4g}"] for name, value in memory.items()], tablefmt="github"))
    print(f"\nbundle in KB, {len(CLASSES)} classes, {SHOTS} shots:")
    print(tabulate([[name, f"{size / 1e3:,.1f}"] for name, size in sizes.items()], tablefmt="github"))


def write_images(folder: Path, count: int) -> list[str]:
    """Grey PNG files of smooth noise."""
    folder.mkdir()
    draw = np.random.default_rng(0)
    paths = [folder / f"{k:04d}.png" for k in range(count)]
    for path in paths:
        noise = Image.fromarray(draw.integers(0, 256, (64, 64), dtype=np.uint8))
        noise.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(path)
    return [str(path) for path in paths]


def write_bundles(path: str, folder: Path) -> dict[str, int]:
    """Write a bundle of every method, with starting values in place of learned ones; returns their bytes by method."""
    from dataclasses import asdict

    from clip import build_backbone
    from dassl.config.defaults import Input
    from dassl.config.schema import defaults_of
    from trainers.bundle import LEARNED, TEXT, UNCALIBRATED, Bundle, write_bundle
    from trainers.bundle_checks import PREPROCESSING, READING
    from trainers.method import Setup
    from trainers.registry import METHOD_REGISTRY
    from trainers.settings import VERSION

    backbone = build_backbone("BiomedCLIP", path)
    size, mean, std = [backbone.image_size] * 2, list(backbone.pixel_mean), list(backbone.pixel_std)
    used = {"SIZE": size, "PIXEL_MEAN": mean, "PIXEL_STD": std, "TRANSFORMS": ["normalize"], "ORIENTATION": "apply"}
    preprocessing = {**defaults_of(Input), "INTERPOLATION": "bicubic", **used}
    labels = torch.arange(len(CLASSES)).repeat_interleave(SHOTS)

    def unit_vectors(texts: Sequence[str]) -> torch.Tensor:
        return torch.nn.functional.normalize(torch.randn(len(texts), backbone.embed_dim), dim=-1)

    sizes = {}
    for name in sorted(METHOD_REGISTRY.registered_names()):
        cls = METHOD_REGISTRY.get(name)
        setup = Setup(
            backbone,
            SimpleNamespace(sentences=unit_vectors),
            list(CLASSES),
            labels,
            PROMPTS,
            shots=SHOTS,
            for_training=False,
        )
        method = cls(setup, cls.Config())
        tensors = {LEARNED + key: value for key, value in method.state_dict().items()}
        if not method.text_depends_on_image:
            tensors[TEXT] = unit_vectors(CLASSES)
        about = {
            "method": name,
            "settings": asdict(method.config),
            "settings_version": VERSION,
            "classes": list(CLASSES),
            "template": method.prompts_read and method.prompts_read.template,
            "preprocessing": {key: preprocessing[key] for key in (*PREPROCESSING, *READING)},
            "backbone": {"name": "BiomedCLIP", "digest": backbone.digest, "text_padding": "longest"},
            "precision": {"features": "fp32", "method": method.config.PREC},
            "calibration": {"temperature": 1.0, "fitted_on": UNCALIBRATED},
            "provenance": {},
        }
        write_bundle(folder / name, Bundle(about, tensors), "")
        sizes[name] = sum(file.stat().st_size for file in (folder / name).iterdir())
    return sizes


def first_prediction(bundle: str, path: str, images: list[str]) -> dict[str, float]:
    """Seconds until a model is loaded and has predicted its first image, and peak memory, in a process of its own."""
    import open_clip  # noqa: F401 - part of the framework's own memory
    import transformers.models.bert.modeling_bert  # noqa: F401

    framework, started = _peak_megabytes(), time.perf_counter()
    predictor = _predictor(bundle, path)
    loaded = time.perf_counter()
    list(predictions(predictor, images[:1]))
    predicted = time.perf_counter()
    list(predictions(predictor, images[: 4 * predictor.batch_size]))
    weights = sum(p.numel() * p.element_size() for p in predictor.backbone.parameters()) / 1e6
    return {
        "seconds to load bundle and backbone": loaded - started,
        "seconds of the first prediction": predicted - loaded,
        "MB of weights": weights,
        "peak MB above the framework's own": _peak_megabytes() - framework,
    }


def _predictor(bundle: str, path: str) -> Any:
    from trainers.bundle import read_bundle
    from trainers.predictor import Predictor

    return Predictor(read_bundle(bundle), backbone_path=path)


def throughput(bundle: str, path: str, images: list[str], repeats: int) -> dict[str, float]:
    """Median seconds of each way for all images; the ways take turns."""
    from open_clip import image_transform

    predictor = _predictor(bundle, path)
    model, backbone = predictor.backbone.model, predictor.backbone
    preprocess = image_transform(backbone.image_size, is_train=False, mean=backbone.pixel_mean, std=backbone.pixel_std)
    ready = predictor.pixels([predictor.reader(image) for image in images])
    ways: dict[str, Callable[[], Any]] = {
        "encoding": lambda: predictor.features(ready).cpu(),
        "plain": lambda: _plain_loop(model, preprocess, images, predictor),
        "predict": lambda: list(predictions(predictor, images)),
    }
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(repeats):
        for way, work in ways.items():
            started = time.perf_counter()
            work()
            seconds[way].append(time.perf_counter() - started)
    return {way: statistics.median(values) for way, values in seconds.items()}


@torch.no_grad()
def _plain_loop(model: Any, preprocess: Any, images: list[str], predictor: Any) -> torch.Tensor:
    loader = DataLoader(_Files(images, preprocess), predictor.batch_size, num_workers=WORKERS)
    return torch.cat([model.encode_image(pixels.to(predictor.device), normalize=True).cpu() for pixels in loader])


class _Files(Dataset):
    def __init__(self, paths: list[str], preprocess: Any):
        self.paths, self.preprocess = paths, preprocess

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.preprocess(Image.open(self.paths[index]))


if __name__ == "__main__":
    sys.exit(main())
