"""Show in a picture what the score of a class rests on."""

import argparse

from biomed_dpt.arguments import add_backbone_path, add_bundle
from biomed_dpt.explain import AUTO, EXPLAINERS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_bundle(parser)
    parser.add_argument("image", metavar="IMAGE", help="an image file")
    parser.add_argument("--out", required=True, metavar="FILE.png", help="the picture with the map over it")
    parser.add_argument("--array", default="", metavar="FILE.npy", help="the map as a NumPy array")
    parser.add_argument(
        "--explainer",
        default=AUTO,
        choices=(AUTO, *EXPLAINERS),
        help="default: gradient-attention for a vision transformer, grad-cam for a convolutional network",
    )
    parser.add_argument("--class", dest="classname", metavar="NAME", help="the class (default: the predicted one)")
    add_backbone_path(parser)


def run(args: argparse.Namespace) -> None:
    from biomed_dpt.explain.explanation import refuse_other_suffix

    refuse_other_suffix(args.out, ".png")
    if args.array:
        refuse_other_suffix(args.array, ".npy")
    import torch

    from biomed_dpt.explain import explain
    from biomed_dpt.hub import open_bundle
    from trainers.predictor import Predictor

    predictor = Predictor(open_bundle(args.bundle), backbone_path=args.backbone_path)
    found = explain(predictor, predictor.reader(args.image), args.explainer, args.classname)
    found.save(args.out)
    if args.array:
        found.save_array(args.array)
    probabilities = predictor.probabilities(torch.from_numpy(found.logits)[None])[0]
    predicted = int(probabilities.argmax())
    label = predictor.classnames.index(found.classname)
    print(f"predicted: {predictor.classnames[predicted]} ({probabilities[predicted]:.3f})")
    print(f"explained: {found.classname} ({probabilities[label]:.3f}), {found.explainer}, in '{args.out}'")
