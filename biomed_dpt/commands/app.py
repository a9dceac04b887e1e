"""Open a page in the browser that classifies images with a bundle, on this computer only."""

import argparse
import time

from trainers.bundle import read_bundle


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("bundle", metavar="BUNDLE", help="the folder of a bundle, or of the run that left it")
    add("--backbone-path", default="", help="folder with the weights of the backbone")
    add("--port", type=int, help="port of the page (default: the first free one from 7860)")
    add("--explainer", default="auto", help="how maps are computed; none for no maps (default: auto)")


def run(args: argparse.Namespace) -> None:
    bundle = read_bundle(args.bundle)
    from biomed_dpt.app import WARNING, served
    from trainers.predictor import Predictor

    predictor = Predictor(bundle, backbone_path=args.backbone_path)
    explainer = "" if args.explainer == "none" else args.explainer
    with served(predictor, explainer, args.port) as address:
        print(f"{WARNING}\n{address}  (Ctrl-C ends it)", flush=True)
        while True:
            time.sleep(3600)
