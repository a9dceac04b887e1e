"""Makes a bundle of a method and its configuration."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
from yacs.config import CfgNode

from dassl.data.datasets import build_image_reader
from datasets.images import ImageReader
from trainers.bundle import LEARNED, TEXT, Bundle
from trainers.bundle_checks import PREPROCESSING
from trainers.method import Method
from trainers.precision import Precision
from trainers.settings import VERSION

TEST_TRANSFORMS = ("normalize", "instance_norm")  # of INPUT.TRANSFORMS, those that test images get too


@torch.no_grad()
def pack(
    method: Method,
    cfg: CfgNode,
    precision: Precision,
    calibration: Mapping[str, Any],
    provenance: Mapping[str, Any],
    **more: Any,
) -> Bundle:
    """The tuned model with everything that prediction needs, for `trainers.bundle.write_bundle`.

    Args:
        method: what was learned, in evaluation mode.
        cfg: the configuration, with the input that the backbone takes (`shared_backbone.with_input_of`).
        precision: the arithmetic of the method.
        calibration: as in `Bundle.calibration`.
        provenance: where the model comes from: seed, shots, digests of the training images, versions.
        more: further entries of bundle.json, such as metrics.
    """
    reader = build_image_reader(cfg)
    if not isinstance(reader, ImageReader):
        print("note: the data set reads images in its own way; the bundle reads them as docs/DATASETS.md describes")
        reader = ImageReader()
    backbone = method.backbone
    about = {
        "method": type(method).__name__,
        "settings": asdict(method.config),
        "settings_version": VERSION,
        "classes": method.classnames,
        "template": method.prompts_read and method.prompts_read.template,
        "preprocessing": {
            **{key: cfg.INPUT[key] for key in PREPROCESSING},
            "TRANSFORMS": [name for name in cfg.INPUT.TRANSFORMS if name in TEST_TRANSFORMS],
            **{name.upper(): value for name, value in vars(reader).items()},
        },
        "backbone": {"name": backbone.name, "digest": backbone.digest, "text_padding": cfg.TEXT_PADDING},
        "precision": {"features": cfg.FEATURE_PREC, "method": precision.name},
        "calibration": dict(calibration),
        "provenance": dict(provenance),
        **more,
    }
    tensors = {LEARNED + name: value for name, value in method.state_dict().items()}
    if not method.text_depends_on_image:
        with precision.autocast(), method.adapted():
            tensors[TEXT] = method.text_features()
    return Bundle(about, tensors)
