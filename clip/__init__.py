"""Frozen vision-language backbones behind one interface."""

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
from clip.biomedclip import BiomedCLIP, Tiny
from clip.openai import CLIP, PubMedCLIP
from clip.pmcclip import PMCCLIP

__all__ = [
    "BACKBONE_REGISTRY",
    "CLIP",
    "PLACEMENTS",
    "PMCCLIP",
    "Backbone",
    "BiomedCLIP",
    "Placement",
    "PubMedCLIP",
    "Tiny",
    "Tokens",
    "Tower",
    "VisualPrompt",
    "build_backbone",
]
