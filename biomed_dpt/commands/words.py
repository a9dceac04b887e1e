"""Show the words of the vocabulary that are nearest to a learned context."""

import argparse

from biomed_dpt.arguments import add_backbone_path, add_bundle


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_bundle(parser)
    parser.add_argument("--count", type=int, default=5, help="words for each learned vector (default: 5)")
    add_backbone_path(parser)


def run(args: argparse.Namespace) -> None:
    from tabulate import tabulate

    from biomed_dpt.explain import nearest_words
    from biomed_dpt.hub import open_bundle
    from trainers.predictor import Predictor

    predictor = Predictor(open_bundle(args.bundle), backbone_path=args.backbone_path, device="cpu")
    rows = [
        [vector.classname or "all classes", vector.position, near.word, near.distance, near.cosine]
        for vector in nearest_words(predictor, args.count)
        for near in vector.neighbours
    ]
    print(tabulate(rows, ["class", "vector", "word", "distance", "cosine"], floatfmt=".3f", disable_numparse=[0, 2]))
