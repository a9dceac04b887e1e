"""Show in a picture what the score of a class rests on."""

import argparse

from biomed_dpt.explain import AUTO, EXPLAINERS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", metavar="BUNDLE", help="the folder of a bundle, or of the run that left it")
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
    parser.add_argument("--backbone-path", default="", help="folder with the weights of the backbone")


def run(args: argparse.Namespace) -> None:
    from biomed_dpt.explain.explanation import refuse_other_suffix

    refuse_other_suffix(args.out, ".png")
    if args.array:
        refuse_other_suffix(args.array, ".npy")
    import torch

    from biomed_dpt.explain import explain
    from trainers.bundle import read_bundle
    from trainers.predictor import Predictor

    predictor = Predictor(read_bundle(args.bundle), backbone_path=args.backbone_path)
    found = explain(predictor, predictor.reader(args.image), args.explainer, args.classname)
    found.save(args.out)
    if args.array:
        found.save_array(args.array)
    probabilities = predictor.probabilities(torch.from_numpy(found.logits)[None])[0]
    predicted = int(probabilities.argmax())
    label = predictor.classnames.index(found.classname)
    print(f"predicted: {predictor.classnames[predicted]} ({probabilities[predicted]:.3f})")
    print(f"explained: {found.classname} ({probabilities[label]:.3f}), {found.explainer}, in '{args.out}'")
