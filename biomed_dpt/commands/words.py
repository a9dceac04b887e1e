"""Show the words of the vocabulary that are nearest to a learned context."""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", metavar="BUNDLE", help="the folder of a bundle, or of the run that left it")
    parser.add_argument("--count", type=int, default=5, help="words for each learned vector (default: 5)")
    parser.add_argument("--backbone-path", default="", help="folder with the weights of the backbone")


def run(args: argparse.Namespace) -> None:
    from tabulate import tabulate

    from biomed_dpt.explain import nearest_words
    from trainers.bundle import read_bundle
    from trainers.predictor import Predictor

    predictor = Predictor(read_bundle(args.bundle), backbone_path=args.backbone_path, device="cpu")
    rows = [
        [vector.classname or "all classes", vector.position, near.word, near.distance, near.cosine]
        for vector in nearest_words(predictor, args.count)
        for near in vector.neighbours
    ]
    print(tabulate(rows, ["class", "vector", "word", "distance", "cosine"], floatfmt=".3f", disable_numparse=[0, 2]))
