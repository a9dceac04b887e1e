"""Frozen vision-language backbones behind one interface; importing this package registers them."""

from clip.backbone import (
    BACKBONE_REGISTRY,
    PLACEMENTS,
    Backbone,
    Placement,
    Tokens,
    Tower,
    VisualPrompt,
    build_backbone,
)
from dassl.discovery import import_modules

__all__ = [
    "BACKBONE_REGISTRY",
    "PLACEMENTS",
    "Backbone",
    "Placement",
    "Tokens",
    "Tower",
    "VisualPrompt",
    "build_backbone",
]

import_modules(__name__, {"BACKBONE_REGISTRY.register"})


def __getattr__(name: str) -> type[Backbone]:
    """Return the class of a registered backbone, such as `clip.BiomedCLIP`."""
    for registered in BACKBONE_REGISTRY.registered_names():
        backbone = BACKBONE_REGISTRY.get(registered)
        if backbone.__name__ == name:
            return backbone
    raise AttributeError(f"module 'clip' has no attribute '{name}'")
