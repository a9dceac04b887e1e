"""Measure whether a visual prompt moves the attention of the image tower to lesions, and what else it changes.

Without arguments, on the embedded phantom data with the Tiny backbone. docs/EVIDENCE.md describes masks, conditions and
measures. After an interrupt the same command goes on: features and maps of each image are kept in the cache.
"""

import argparse

from runs.arguments import add_data, add_import
from sweep.arguments import at_least, folder, names, numbers

PARTS = ("test", "all")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add_data(parser)
    add("--masks", default="", metavar="DIR", help="folder with <class folder>/<image>.png, below the root or anywhere")
    add("--part", default="test", choices=PARTS, help="the images: the test part (default), or all of the data set")
    add("--limit", type=at_least(1), metavar="N", help="measure N images, evenly spread over the part")
    add("--conditions", type=names, default=(), metavar="NAMES", help="visual prompts, with commas (default: all)")
    add("--texts", type=names, default=("template", "ensemble"), help="template, ensemble, or both (default)")
    add("--bundle", action="append", default=[], metavar="RUN", help="a tuned model; its text is one more")
    about = "conditions for which insertion and deletion are computed (default: none)"
    add("--curves", type=names, default=(), metavar="NAMES", help=about)
    add("--steps", type=at_least(1), default=10, help="of insertion and deletion (default: 10)")
    add("--shots", type=at_least(1), default=16, help="training images per class of few-shot accuracy (default: 16)")
    add("--seeds", type=numbers, default=(1, 2, 3), help="draws of these images (default: 1,2,3)")
    add("--pictures", type=at_least(0), default=1, metavar="N", help="images per class in the gallery (default: 1)")
    add("--output", type=folder, metavar="DIR", help="default: output_evidence/<data set>/<backbone>")
    add("--overwrite", action="store_true", help="replace another measurement in the output folder")
    add_import(parser)
    parser.set_defaults(dataset="phantom", backbone="")
    add("opts", nargs="*", metavar="KEY VALUE", help="configuration keys and their values")


def run(args: argparse.Namespace) -> None:
    """Measure, and write the report."""
    from evidence.attention import measure

    measure(args)
