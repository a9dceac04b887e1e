"""Frozen vision-language backbones behind one interface."""

from clip.backbone import BACKBONE_REGISTRY, Backbone, Tokens, VisualPrompt, build_backbone
from clip.biomedclip import BiomedCLIP, Tiny

__all__ = ["BACKBONE_REGISTRY", "Backbone", "BiomedCLIP", "Tiny", "Tokens", "VisualPrompt", "build_backbone"]
