"""Makes a bundle of a checkpoint, without a run and without images."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from yacs.config import CfgNode

from dassl.config.schema import defaults_of, parse
from dassl.errors import InputError
from dassl.utils import load_checkpoint
from trainers import checkpoint
from trainers.bundle import UNCALIBRATED, Bundle, classes_of
from trainers.features import Encoder
from trainers.method import Method
from trainers.packing import pack
from trainers.precision import Precision
from trainers.registry import METHOD_REGISTRY
from trainers.settings import VERSION, in_todays_words
from trainers.setup import Setup
from trainers.shared_backbone import shared_backbone, with_input_of


def import_checkpoint(
    path: Path,
    cfg: CfgNode,
    provenance: Mapping[str, Any],
    classnames: Sequence[str] = (),
    otherwise: Sequence[str] = (),
    prompts: str = "",
    epoch: int | None = None,
) -> Bundle:
    """A bundle, uncalibrated, of a checkpoint of this project or of code that `trainers.official` knows.

    Args:
        path: the checkpoint. Its settings are used if it names them.
        cfg: method, backbone and settings.
        provenance: where the checkpoint comes from.
        classnames: the classes, in label order; none for those that the checkpoint names.
        otherwise: the classes where the checkpoint names none.
        prompts: name or path of a prompt file, for methods that use its template.
        epoch: the epoch of the file, if one was asked for.

    Raises:
        InputError: the checkpoint cannot be read or does not fit, or there are no classes.
    """
    content = load_checkpoint(str(path))
    about = checkpoint.about_of(content, path)
    method_class = METHOD_REGISTRY.get(cfg.TRAINER.NAME)
    names = classes_of(classnames or about.get("classnames") or otherwise)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    backbone = shared_backbone(cfg, device)
    cfg = with_input_of(backbone, cfg)
    config = parse(method_class.Config, _settings(method_class, cfg, about), f"checkpoint '{path}': settings")
    if problem := method_class.why_unsupported(type(backbone), config, cfg.PROTOCOL):
        raise InputError(f"checkpoint '{path}': {problem}")
    labels = torch.empty(0, dtype=torch.long)
    setup = Setup(backbone, Encoder(backbone, cfg), names, labels, prompts, for_training=False)
    method = method_class(setup, config).to(device).eval()
    if not method.state_dict():
        raise InputError(f"{cfg.TRAINER.NAME} learns nothing, so there is no checkpoint of it to import")
    identity = {"method": cfg.TRAINER.NAME, "backbone": backbone.name}
    checkpoint.load_into(method, path, identity, epoch, content)
    checkpoint.compare(about, names, config, method.classes_matter)
    calibration = {"temperature": 1.0, "fitted_on": UNCALIBRATED, "images": 0}
    return pack(method, cfg, Precision(config.PREC, device), calibration, provenance)


def _settings(method_class: type[Method], cfg: CfgNode, about: Mapping[str, Any]) -> Mapping[str, Any]:
    """The method's settings that a checkpoint names, else those of a configuration."""
    stored = about["settings"]
    if not stored:
        return cfg.TRAINER[method_class.__name__.upper()]
    old = about.get("settings_version", 1) < VERSION
    return in_todays_words(stored, defaults_of(method_class.Config)) if old else stored
