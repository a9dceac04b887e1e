"""Open a page in the browser that classifies images with a bundle, on this computer only."""

import argparse
import time

from biomed_dpt.arguments import add_backbone_path, add_bundle


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add_bundle(parser)
    add_backbone_path(parser)
    add("--port", type=int, help="port of the page (default: the first free one from 7860)")
    add("--explainer", default="auto", help="how maps are computed; none for no maps (default: auto)")


def run(args: argparse.Namespace) -> None:
    from biomed_dpt.app import WARNING, served
    from biomed_dpt.hub import open_bundle
    from trainers.predictor import Predictor

    predictor = Predictor(open_bundle(args.bundle), backbone_path=args.backbone_path)
    explainer = "" if args.explainer == "none" else args.explainer
    with served(predictor, explainer, args.port) as address:
        print(f"{WARNING}\n{address}  (Ctrl-C ends it)", flush=True)
        while True:
            time.sleep(3600)
