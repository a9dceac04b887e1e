"""Arguments that several commands share: the bundle, and where the weights of its backbone are."""

import argparse


def add_bundle(parser: argparse.ArgumentParser) -> None:
    """Add the bundle, which `biomed_dpt.hub.open_bundle` reads."""
    parser.add_argument("bundle", metavar="BUNDLE", help="the folder of a bundle or of a run, or hf://user/name")


def add_backbone_path(parser: argparse.ArgumentParser) -> None:
    """Add the folder of the backbone's weights."""
    about = "folder with the weights of the backbone (default: the source that docs/BACKBONES.md names)"
    parser.add_argument("--backbone-path", default="", metavar="DIR", help=about)
