"""Write a bundle and its image tower as one ONNX file, or as a program of torch.export (.pt2)."""

import argparse

from biomed_dpt.arguments import add_backbone_path, add_bundle


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_bundle(parser)
    parser.add_argument("out", metavar="OUT", help="the file to write: its name ends in .onnx or .pt2")
    add_backbone_path(parser)
    parser.add_argument("--opset", type=int, metavar="N", help="version of ONNX's operators; torch's default")
    parser.add_argument(
        "--tolerance",
        type=float,
        default=1e-4,
        metavar="X",
        help="largest difference from PyTorch that is accepted (%(default)s)",
    )


def run(args: argparse.Namespace) -> None:
    from biomed_dpt.export import export_model, refuse_what_cannot_be_exported
    from biomed_dpt.hub import open_bundle

    bundle = open_bundle(args.bundle)
    refuse_what_cannot_be_exported(bundle, args.out, args.opset, args.tolerance)
    from trainers.predictor import Predictor  # torch's modules take seconds to load

    predictor = Predictor(bundle, backbone_path=args.backbone_path, device="cpu")
    print(f"exporting {bundle.method} on {bundle.backbone}; a full-size model takes about half a minute")
    export_model(predictor, args.out, opset=args.opset, tolerance=args.tolerance)
    print(f"written: '{args.out}'")
