"""Image transforms, built by name from torchvision."""

import torch
from PIL import Image
from torch import Tensor
from torchvision import transforms as T
from yacs.config import CfgNode

from dassl.config.defaults import INTERPOLATIONS, TRANSFORMS
from dassl.errors import unknown_name

__all__ = ["INTERPOLATION_MODES", "build_transform"]

INTERPOLATION_MODES = {name: T.InterpolationMode(name) for name in INTERPOLATIONS}


class InstanceNormalization:
    """Normalises each channel of an image (C, H, W) to mean 0 and standard deviation 1."""

    def __call__(self, image: Tensor) -> Tensor:
        return (image - image.mean((1, 2), keepdim=True)) / (image.std((1, 2), keepdim=True) + 1e-8)


class RandomTranslation:
    """With probability 0.5, resizes to 9/8 of the size and crops at a random position; otherwise only resizes."""

    def __init__(self, size: tuple[int, int], interpolation: T.InterpolationMode):
        larger = [round(side * 1.125) for side in size]
        self.plain = T.Resize(size, interpolation)
        self.moved = T.Compose([T.Resize(larger, interpolation), T.RandomCrop(size)])

    def __call__(self, image: Image.Image) -> Image.Image:
        return self.moved(image) if torch.rand(()) < 0.5 else self.plain(image)


def build_transform(cfg: CfgNode, is_train: bool = True, choices: list[str] | None = None) -> T.Compose | None:
    """Build the transform from a PIL image to a tensor (3, H, W), float32; None if INPUT.NO_TRANSFORM is set.

    Args:
        cfg: the whole configuration; its node INPUT is used.
        is_train: whether to apply the random transforms. For evaluation the shorter side is resized and the centre
            cropped.
        choices: names to use instead of INPUT.TRANSFORMS.

    Raises:
        InputError: the name of a transform or of the interpolation is unknown.
    """
    if cfg.INPUT.NO_TRANSFORM:
        return None
    choices = list(cfg.INPUT.TRANSFORMS if choices is None else choices)
    for name in choices:
        if name not in TRANSFORMS:
            raise unknown_name("transform (INPUT.TRANSFORMS)", name, TRANSFORMS)
    if cfg.INPUT.INTERPOLATION not in INTERPOLATION_MODES:
        raise unknown_name("interpolation (INPUT.INTERPOLATION)", cfg.INPUT.INTERPOLATION, INTERPOLATION_MODES)
    steps = _train_steps(cfg, choices) if is_train else _test_steps(cfg)
    steps.append(T.ToTensor())
    if is_train and "randomerasing" in choices:
        steps.append(T.RandomErasing(p=0.5))
    if "normalize" in choices:
        steps.append(T.Normalize(cfg.INPUT.PIXEL_MEAN, cfg.INPUT.PIXEL_STD))
    if "instance_norm" in choices:
        steps.append(InstanceNormalization())
    return T.Compose(steps)


def _test_steps(cfg: CfgNode) -> list:
    interpolation = INTERPOLATION_MODES[cfg.INPUT.INTERPOLATION]
    return [T.Resize(max(cfg.INPUT.SIZE), interpolation), T.CenterCrop(tuple(cfg.INPUT.SIZE))]


def _train_steps(cfg: CfgNode, choices: list[str]) -> list:
    size, interpolation = tuple(cfg.INPUT.SIZE), INTERPOLATION_MODES[cfg.INPUT.INTERPOLATION]
    steps = []
    if "random_resized_crop" in choices:
        steps.append(T.RandomResizedCrop(size, scale=tuple(cfg.INPUT.RRCROP_SCALE), interpolation=interpolation))
    elif "random_translation" in choices:
        steps.append(RandomTranslation(size, interpolation))
    elif "center_crop" in choices:
        steps += _test_steps(cfg)
    else:
        steps.append(T.Resize(size, interpolation))
    if "random_crop" in choices:
        steps.append(T.RandomCrop(size, padding=cfg.INPUT.CROP_PADDING))
    if "random_flip" in choices:
        steps.append(T.RandomHorizontalFlip())
    if "colorjitter" in choices:
        strengths = [cfg.INPUT[f"COLORJITTER_{letter}"] for letter in "BCSH"]
        steps.append(T.ColorJitter(*strengths))
    if "randomgrayscale" in choices:
        steps.append(T.RandomGrayscale(cfg.INPUT.RGS_P))
    if "gaussian_blur" in choices:
        steps.append(T.RandomApply([T.GaussianBlur(cfg.INPUT.GB_K)], cfg.INPUT.GB_P))
    return steps
