"""Draw a reliability diagram of a bundle on labelled images, before and after its temperature."""

import argparse

from biomed_dpt.arguments import add_backbone_path, add_bundle


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add_bundle(parser)
    add("images", metavar="LABELLED.csv", help="a CSV file with the columns path (relative to the file) and label")
    add("--out", required=True, metavar="FILE", help="the picture: .png, .pdf or .svg")
    add_backbone_path(parser)


def run(args: argparse.Namespace) -> None:
    from biomed_dpt.hub import open_bundle
    from biomed_dpt.labelled import logits_of, read_labelled
    from biomed_dpt.reliability import check_picture, draw_reliability, reliability
    from trainers.predictor import Predictor

    check_picture(args.out)
    bundle = open_bundle(args.bundle)
    images = read_labelled(args.images, bundle)
    predictor = Predictor(bundle, backbone_path=args.backbone_path)
    logits, labels = logits_of(predictor, images)
    chosen_on = {*bundle.about["provenance"].get("validation_images", ())}
    if seen := sum(digest in chosen_on for digest in images.digests):
        print(
            f"note: settings or the temperature of the bundle were chosen on {seen} of these {len(labels)} images, so "
            "the error on other images may be larger"
        )
    after = predictor.probabilities(logits)
    predictor.temperature = 1.0
    diagrams = {"temperature 1": reliability(predictor.probabilities(logits), labels)}
    if bundle.temperature != 1:
        diagrams[f"temperature {bundle.temperature:.3g}"] = reliability(after, labels)
    draw_reliability(diagrams, args.out)
    for title, diagram in diagrams.items():
        print(f"{title}: ECE {100 * diagram.ece:.2f} % on {len(labels)} images")
    print(f"diagram in '{args.out}'")
