"""Bundles of methods that were never trained; what is learned is random, so that all of it has an effect."""

import copy
import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from dassl.utils import seeded
from prompts import Prompts
from trainers.bundle import LEARNED, TEXT, Bundle, bundle_digest
from trainers.method import Setup
from trainers.registry import METHOD_REGISTRY
from trainers.settings import VERSION

CLASSES = ["benign nodule", "malignant nodule", "cyst"]
TEMPLATE = "an ultrasound image of a {}."


def random_bundle(method, backbone, temperature=1.5, **settings):
    """A bundle of a method with some settings and random learned tensors, in memory."""
    cls = METHOD_REGISTRY.get(method)
    config = cls.Config(**settings)
    labels = torch.arange(3).repeat(2)
    setup = Setup(backbone, None, CLASSES, labels, Prompts(Path("none"), TEMPLATE, {}), for_training=False)
    with seeded(1):
        learned = cls(setup, config).state_dict()
        for value in learned.values():
            if value.dim():
                value += 0.05 * torch.randn(value.shape)
        text = F.normalize(torch.randn(len(CLASSES), backbone.embed_dim), dim=-1)
    tensors = {LEARNED + name: value for name, value in learned.items()}
    about = {
        "format": 1,
        "method": method,
        "settings": asdict(config),
        "settings_version": VERSION,
        "classes": CLASSES,
        "template": TEMPLATE,
        "preprocessing": {
            "SIZE": [backbone.image_size] * 2,
            "INTERPOLATION": "bicubic",
            "PIXEL_MEAN": list(backbone.pixel_mean),
            "PIXEL_STD": list(backbone.pixel_std),
            "TRANSFORMS": ["normalize"],
            "DEPTH": "rescale",
            "FRAMES": "first",
            "ORIENTATION": "apply",
            "MAX_PIXELS": 100_000_000,
        },
        "backbone": {"name": backbone.name, "digest": backbone.digest, "text_padding": "longest"},
        "precision": {"features": "fp32", "method": "fp32"},
        "calibration": {"temperature": temperature, "fitted_on": "validation shots", "images": 6},
        "provenance": {},
    }
    if not cls.text_depends_on_image:
        tensors[TEXT] = text
    return Bundle({**about, "digest": bundle_digest(about, tensors)}, tensors)


def forge(bundle, folder, change):
    """Write a bundle that `change(about, tensors)` has changed, with the right digest; returns its folder."""
    about, tensors = copy.deepcopy(dict(bundle.about)), dict(bundle.tensors)
    change(about, tensors)
    about["digest"] = bundle_digest(about, tensors)
    folder.mkdir()
    (folder / "bundle.json").write_text(json.dumps(about))
    save_file(tensors, folder / "model.safetensors")
    return folder


def entry(key, value):
    """A change of an entry of bundle.json; dots in the key lead into nested entries."""

    def change(about, _tensors):
        *parts, last = key.split(".")
        for part in parts:
            about = about[part]
        about[last] = value

    return change


def tensor(name, value):
    """A change of a tensor."""
    return lambda _about, tensors: tensors.update({name: value})
