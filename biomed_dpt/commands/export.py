"""Write a bundle and its image tower as one ONNX file, or as a program of torch.export (.pt2)."""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", metavar="BUNDLE", help="the folder of a bundle, or of the run that left it")
    parser.add_argument("out", metavar="OUT", help="the file to write: its name ends in .onnx or .pt2")
    parser.add_argument("--backbone-path", default="", metavar="DIR", help="folder with the backbone's weights")
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
    from trainers.bundle import read_bundle

    bundle = read_bundle(args.bundle)
    refuse_what_cannot_be_exported(bundle, args.out, args.opset, args.tolerance)
    from trainers.predictor import Predictor  # torch's modules take seconds to load

    predictor = Predictor(bundle, backbone_path=args.backbone_path, device="cpu")
    print(f"exporting {bundle.method} on {bundle.backbone}; a full-size model takes about half a minute")
    export_model(predictor, args.out, opset=args.opset, tolerance=args.tolerance)
    print(f"written: '{args.out}'")
