"""One copy of a backbone per process, which all its runs share."""

from weakref import WeakValueDictionary

import torch
from yacs.config import CfgNode

from clip import Backbone, build_backbone
from dassl.errors import unknown_name

_LIVE: WeakValueDictionary[tuple, Backbone] = WeakValueDictionary()
_LAST: list[Backbone] = []  # at most one: the next run of this process is likely to use it again
PADDINGS = ("longest", "context")


def shared_backbone(cfg: CfgNode, device: torch.device) -> Backbone:
    """The backbone of a configuration on a device; built if neither a live run nor the last run has it.

    Raises:
        InputError: unknown backbone or text padding, weights that cannot be found or do not fit.
    """
    key = (cfg.MODEL.BACKBONE.NAME, cfg.MODEL.BACKBONE.PATH, cfg.TEXT_PADDING, str(device))
    backbone = _LIVE.get(key)
    if backbone is None:
        if cfg.TEXT_PADDING not in PADDINGS:
            raise unknown_name("text padding (TEXT_PADDING)", cfg.TEXT_PADDING, PADDINGS)
        _LAST.clear()  # free its memory before the next one is loaded
        backbone = _LIVE[key] = build_backbone(*key[:2]).to(device)
        backbone.pad_text = cfg.TEXT_PADDING == "context"
    _LAST[:] = [backbone]
    backbone.set_text_dropout(False)  # a run that was interrupted in training may have left it on
    return backbone


def with_input_of(backbone: Backbone, cfg: CfgNode) -> CfgNode:
    """A frozen copy of a configuration with the size and the normalisation of images that a backbone takes."""
    cfg = cfg.clone()
    cfg.defrost()
    cfg.INPUT.SIZE = (backbone.image_size, backbone.image_size)
    cfg.INPUT.PIXEL_MEAN, cfg.INPUT.PIXEL_STD = list(backbone.pixel_mean), list(backbone.pixel_std)
    cfg.freeze()
    return cfg
