"""A tuned model outside its run: from images to features, logits and probabilities."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from yacs.config import CfgNode

from clip import Backbone, build_backbone
from dassl.config.defaults import Input
from dassl.config.schema import defaults_of, parse
from dassl.errors import InputError, first_line, shown
from dassl.utils import seeded
from dassl.utils.tensors import why_not_fitting
from datasets.images import ImageReader
from prompts import Prompts
from trainers.bundle import Bundle, classes_of
from trainers.features import ENCODE_BATCH
from trainers.method import Method, Setup
from trainers.precision import Precision
from trainers.registry import METHOD_REGISTRY
from trainers.settings import VERSION, in_todays_words


class Predictor:
    """Predicts with a bundle and its backbone, as the test of the run did.

    Args:
        bundle: the tuned model.
        backbone: its backbone; built if it is not given.
        backbone_path: folder with the backbone's weights; "" for the source that its class names.
        classnames: other classes than the bundle's, for methods with a learned context.
        device: where to compute; the GPU if there is one.
        precision: arithmetic of the image features; that of the bundle if it is not given.

    Attributes:
        bundle, backbone, method, device: what predicts, and where.
        classnames: the C classes, in the order of the logits.
        temperature: logits are divided by it for probabilities; 1 for other classes than the bundle's.
        conformal: kind, coverage, threshold and calibration images of the prediction sets; None where the bundle has
            none, or for other classes.
        reader, transform: from a file to a picture, and from a picture to normalised pixels (3, H, W).
        batch_size: images that are encoded at a time; the test of a run uses the same number.

    Raises:
        InputError: the bundle does not fit its method, the backbone has other weights, or the method cannot predict
            other classes.
    """

    def __init__(
        self,
        bundle: Bundle,
        backbone: Backbone | None = None,
        *,
        backbone_path: str = "",
        classnames: Sequence[str] | None = None,
        device: torch.device | str | None = None,
        precision: str = "",
    ):
        self.bundle = bundle
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        METHOD_REGISTRY.get(bundle.method)  # an unknown name is an error before the backbone is read
        self.backbone = self._backbone(backbone, backbone_path)
        self.encoding = Precision(precision or bundle.about["precision"]["features"], self.device, "precision")
        self.arithmetic = Precision(bundle.about["precision"]["method"], self.device, "precision")
        self.method = self._method()
        self.temperature = bundle.temperature
        self.conformal = bundle.calibration.get("conformal")
        self._use_text(classnames)
        preprocessing = parse(Input, bundle.about["preprocessing"], "preprocessing")
        self.reader = ImageReader(
            preprocessing.DEPTH, preprocessing.FRAMES, preprocessing.ORIENTATION, preprocessing.MAX_PIXELS
        )
        self.transform = _transform(bundle.about["preprocessing"])
        self.batch_size = ENCODE_BATCH.get(self.device.type, 64)

    @property
    def classnames(self) -> list[str]:
        return self.method.classnames

    def pixels(self, pictures: Sequence[Image.Image]) -> Tensor:
        """Normalised pixels (N, 3, H, W) of RGB pictures, as `reader` returns them."""
        return torch.stack([self.transform(picture) for picture in pictures])

    @torch.no_grad()
    def features(self, pixels: Tensor) -> Tensor:
        """Normalised image features (N, D), fp32, of normalised pixels (N, 3, H, W)."""
        method, found = self.method, []
        with method.adapted():
            prompt = method.visual_prompt()
            for part in pixels.to(self.device, non_blocking=True).split(self.batch_size):
                with self.encoding.autocast():
                    encoded = self.backbone.encode_image(part, prompt)
                found.append(F.normalize(encoded.float(), dim=-1))
        return torch.cat(found)

    @torch.no_grad()
    def logits(self, features: Tensor) -> Tensor:
        """Logits (N, C) of normalised image features (N, D), before the temperature."""
        with self.arithmetic.autocast(), self.method.adapted():
            return self.method.logits(features).float()

    def probabilities(self, logits: Tensor) -> Tensor:
        """Probabilities (N, C), fp64: the softmax of the logits divided by the temperature."""
        return F.softmax(logits.double() / self.temperature, dim=-1)

    @property
    def _where(self) -> str:
        return f"the bundle '{self.bundle.where}'" if self.bundle.where else "the tuned model"

    def _backbone(self, backbone: Backbone | None, path: str) -> Backbone:
        about = self.bundle.about["backbone"]
        if backbone is None:
            backbone = build_backbone(about["name"], path)
            backbone.pad_text = about["text_padding"] == "context"
        if backbone.digest != about["digest"]:
            raise InputError(
                f"{self._where} was made with other weights of {about['name']} (digest {about['digest'][:12]}, here "
                f"{backbone.digest[:12]}); name the folder of the same weights with --backbone-path"
            )
        size = list(self.bundle.about["preprocessing"]["SIZE"])
        if size != [backbone.image_size] * 2:
            raise InputError(
                f"{self._where} prepares images of {size} pixels, and {backbone.name} reads {backbone.image_size}"
            )
        return backbone.to(self.device)

    def _method(self) -> Method:
        bundle, about = self.bundle, self.bundle.about
        cls = METHOD_REGISTRY.get(bundle.method)
        stored = about["settings"]
        if about["settings_version"] < VERSION:
            stored = in_todays_words(stored, defaults_of(cls.Config))
        config = parse(cls.Config, stored, f"{self._where}: settings")
        if problem := cls.why_unsupported(type(self.backbone), config, "few_shot"):
            raise InputError(f"{self._where}: {problem}")
        template = about.get("template")
        setup = Setup(
            self.backbone,
            _Sentences(self.backbone),
            bundle.classnames,
            torch.empty(0, dtype=torch.long),
            Prompts(Path(self.bundle.where), template, {}) if template else "",
            for_training=False,
        )
        try:
            with seeded(0):  # starting values are drawn and replaced; the caller's random numbers stay
                method = cls(setup, config)
        except InputError as error:
            raise InputError(f"{self._where}: {error}") from error
        learned = bundle.learned
        method.expect({name: tuple(value.shape) for name, value in learned.items()})
        if problem := why_not_fitting(learned, method.state_dict()):
            raise InputError(f"{self._where} does not fit {bundle.method} with its settings: {problem}")
        method.load_state_dict(learned)
        return method.to(self.device).eval().requires_grad_(False)

    @torch.no_grad()
    def _use_text(self, classnames: Sequence[str] | None) -> None:
        method, stored = self.method, self.bundle.text_features
        if classnames is not None and list(classnames) != self.bundle.classnames:
            names = classes_of(classnames)
            if method.classes_matter:
                raise InputError(
                    f"{self._where} holds {self.bundle.method}, whose learned weights belong to its classes "
                    f"{shown(self.bundle.classnames, 400)}; it cannot predict others"
                )
            method.set_classes(names)
            self.temperature, self.conformal, stored = 1.0, None, None
        elif stored is not None or not method.text_depends_on_image:
            self._check_text(stored)
        if method.text_depends_on_image:
            return
        if stored is None:
            try:
                with self.arithmetic.autocast(), method.adapted():
                    stored = method.encode_classes()
            except InputError as error:
                raise InputError(
                    f"{self._where} cannot predict other classes: {self.bundle.method} makes text features of the "
                    "sentences that a prompt file has for each class, and a bundle holds none; train with these classes"
                ) from error
        method.keep_text(stored.to(self.device).clone())  # aligned, as in the features of a run

    def _check_text(self, stored: Tensor | None) -> None:
        expected = None if self.method.text_depends_on_image else (len(self.classnames), self.backbone.embed_dim)
        found = None if stored is None else tuple(stored.shape)
        if found != expected:
            raise InputError(
                f"{self._where} has {_features(found)}, and {self.bundle.method} on {self.backbone.name} needs "
                f"{_features(expected)}; make or fetch it again"
            )


def _features(shape: tuple[int, ...] | None) -> str:
    return f"text features of shape {shape}" if shape else "no text features"


class _Sentences:
    """Encodes sentences without a cache."""

    def __init__(self, backbone: Backbone):
        self.backbone = backbone

    def sentences(self, texts: list[str]) -> Tensor:
        return F.normalize(self.backbone.encode_sentences(texts).to(self.backbone.device), dim=-1)


def _transform(preprocessing: dict[str, Any]) -> Any:
    from dassl.data.transforms import build_transform  # torchvision takes seconds to load

    cfg = CfgNode({"INPUT": CfgNode({**defaults_of(Input), **preprocessing})})
    try:
        return build_transform(cfg, is_train=False)
    except (TypeError, ValueError) as error:
        raise InputError(f"the preprocessing of the bundle cannot be used: {first_line(error)}") from error
