"""Calibrate a bundle on labelled images of your own: prediction sets with a stated coverage, and a temperature.

The images must not be training images. A temperature and prediction sets are never fitted on the same images: with
--temperature, a random half is for the temperature, and the other half for the prediction sets.
"""

import argparse
import random
from typing import TYPE_CHECKING, Any

from biomed_dpt.arguments import add_backbone_path, add_bundle

if TYPE_CHECKING:
    from biomed_dpt.labelled import Labelled
    from trainers.bundle import Bundle

SEED = 0  # of the halves
FITTED_ON = "labelled images"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add_bundle(parser)
    add("images", metavar="LABELLED.csv", help="a CSV file with the columns path (relative to the file) and label")
    add("--coverage", type=float, default=0.9, help="share of images whose set has their class (default: 0.9)")
    add("--kind", default="lac", choices=("lac", "aps"), help="kind of the prediction sets: lac (default) or aps")
    add("--temperature", action="store_true", help="also fit the temperature, on one half of the images")
    add("--no-sets", action="store_true", help="with --temperature: use all images for it, and write no sets")
    add("--out", metavar="FOLDER", help="write another bundle (default: BUNDLE is rewritten)")
    add_backbone_path(parser)


def run(args: argparse.Namespace) -> None:
    from pathlib import Path

    from biomed_dpt.hub import SCHEME, open_bundle
    from dassl.errors import InputError
    from trainers.bundle import refuse_other_files, write_bundle
    from trainers.calibration import images_needed
    from trainers.card import card

    if args.no_sets and not args.temperature:
        raise InputError("--no-sets leaves nothing to do; add --temperature")
    images_needed(args.coverage)
    if args.bundle.startswith(SCHEME) and not args.out:
        raise InputError(f"'{args.bundle}' is on the hub; name a folder for the calibrated bundle with --out")
    bundle = open_bundle(args.bundle)
    folder = Path(args.out or bundle.where)
    refuse_other_files(folder)
    calibrated = calibrated_bundle(bundle, args)
    written = write_bundle(folder, calibrated, card(calibrated.about))
    print(f"{in_words(calibrated.calibration)}\nbundle in '{folder}' (digest {written.about['digest'][:12]})")


def calibrated_bundle(bundle: "Bundle", args: argparse.Namespace) -> "Bundle":
    """A bundle with the calibration that the command line asks for.

    Raises:
        InputError: too few images, or images that trained the model or fitted its temperature.
    """
    from biomed_dpt.labelled import logits_of, read_labelled, refuse_images
    from trainers.bundle import Bundle
    from trainers.calibration import conformal_threshold, fit_temperature, refuse_few_images
    from trainers.predictor import Predictor

    images, provenance = read_labelled(args.images, bundle), dict(bundle.about["provenance"])
    earlier = provenance.get("validation_images", [])
    for_temperature, for_sets = divided(images, args.temperature, not args.no_sets)
    if for_sets is not None:
        refuse_few_images(len(for_sets.paths), args.coverage)
        refuse_images(for_sets, earlier, "images on which settings or the temperature of the bundle were chosen")
    predictor = Predictor(bundle, backbone_path=args.backbone_path)
    calibration = {name: value for name, value in bundle.calibration.items() if name != "conformal"}
    if for_temperature is not None:
        predictor.temperature = fit_temperature(*logits_of(predictor, for_temperature))
        count = len(for_temperature.paths)
        calibration = {"temperature": predictor.temperature, "fitted_on": FITTED_ON, "images": count}
        provenance["validation_images"] = sorted({*earlier, *for_temperature.digests})
    if for_sets is not None:
        logits, labels = logits_of(predictor, for_sets)
        threshold = conformal_threshold(predictor.probabilities(logits), labels, args.coverage, args.kind)
        about = {"kind": args.kind, "coverage": args.coverage, "threshold": threshold, "images": len(labels)}
        calibration["conformal"] = about
    return Bundle({**bundle.about, "calibration": calibration, "provenance": provenance}, bundle.tensors)


def divided(images: "Labelled", temperature: bool, sets: bool) -> tuple["Labelled | None", "Labelled | None"]:
    """The images for the temperature and those for the prediction sets: random halves where both are fitted."""
    if not (temperature and sets):
        return (images if temperature else None), (images if sets else None)
    places = random.Random(SEED).sample(range(len(images.paths)), len(images.paths))
    middle = len(places) // 2
    return images.chosen(sorted(places[:middle])), images.chosen(sorted(places[middle:]))


def in_words(calibration: dict[str, Any]) -> str:
    """A calibration in two lines."""
    conformal = calibration.get("conformal")
    sets = (
        "no prediction sets"
        if conformal is None
        else (
            f"prediction sets {conformal['kind']}: coverage {conformal['coverage']}, threshold "
            f"{conformal['threshold']:.4g}, fitted on {conformal['images']} labelled images"
        )
    )
    return f"temperature {calibration['temperature']:.4g}: {calibration['fitted_on']}\n{sets}"
