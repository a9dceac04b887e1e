"""The command line of predict.py, and what it does."""

import argparse
import contextlib
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from biomed_dpt.arguments import add_backbone_path, add_bundle
from biomed_dpt.sources import find_images
from biomed_dpt.writing import FORMATS, format_of, row_writer
from dassl.errors import InputError, OutputError, printable, unknown_name
from dassl.utils.csvtext import file_name
from runs.arguments import add_import
from runs.imports import import_file

if TYPE_CHECKING:
    from biomed_dpt.prediction import Prediction
    from trainers.bundle import Bundle
    from trainers.predictor import Predictor

UNREADABLE = 1  # the exit code where some files could not be read


def build_parser(description: str = "") -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add_bundle(parser)
    add("inputs", nargs="+", metavar="INPUT", help="image files, folders, quoted patterns, CSV files with a column")
    add("--out", default="", metavar="FILE", help="a CSV or JSON lines file (default: CSV on standard output)")
    add("--format", default="", choices=FORMATS, help="of the output (default: by the suffix of --out)")
    add("--column", default="", metavar="NAME", help="the column of CSV inputs (default: path, file or image)")
    add("--top", type=_positive, default=0, metavar="K", help="write only the K most probable classes")
    add("--sets", action="store_true", help="write prediction sets; the bundle must be calibrated for them")
    add("--explain", default="", metavar="DIR", help="write a map over each image into a folder")
    add("--classes", nargs="+", metavar="NAME", help="other class names, for methods with a learned context")
    add("--batch-size", type=_positive, default=0, metavar="N", help="images that are encoded at a time")
    add("--precision", default="", help="arithmetic of the image features: fp32, tf32, bf16 or amp")
    add_backbone_path(parser)
    add("--workers", type=_positive, default=0, metavar="N", help="threads that read files (default: one per core, 8)")
    add_import(parser)
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError
    return value


_positive.__name__ = "number above 0"  # argparse shows the name where the text is no such number


def run(args: argparse.Namespace) -> int:
    """Predict the images that a command line names; returns the exit code: 0, or 1 if some could not be read.

    Raises:
        InputError: bad input; before the backbone is loaded, where it can be known.
    """
    stdout = sys.stdout
    with contextlib.nullcontext() if args.out else contextlib.redirect_stdout(sys.stderr):
        return _run(args, stdout)


def _run(args: argparse.Namespace, stdout: TextIO) -> int:
    kind = format_of(args.out, args.format)
    paths = find_images(args.inputs, args.column)
    if args.out and any(os.path.realpath(args.out) == os.path.realpath(path) for path in (*args.inputs, *paths)):
        raise InputError(f"--out '{args.out}' is one of the inputs; name another file")
    from biomed_dpt.hub import open_bundle
    from biomed_dpt.prediction import predictions
    from trainers.bundle import classes_of
    from trainers.precision import NAMES as PRECISIONS

    if args.precision and args.precision not in PRECISIONS:
        raise unknown_name("precision (--precision)", args.precision, PRECISIONS)
    for path in args.imports:
        import_file(path)
    bundle = open_bundle(args.bundle)
    classnames = classes_of(args.classes) if args.classes else bundle.classnames
    members = _prediction_sets(bundle, classnames) if args.sets else None
    if args.explain:
        _make_folder(args.explain)
    further = [name for name, wanted in (("set", args.sets), ("map", args.explain)) if wanted]
    with row_writer(args.out, kind, classnames, args.top, further, stdout=stdout) as rows:
        predictor = _predictor(bundle, args)
        maps = _maps(predictor, args.explain) if args.explain else None
        tally = Tally(classnames)
        for found in tally.counted(predictions(predictor, paths, args.workers), len(paths)):
            more: dict[str, Any] = {}
            if found.probabilities is not None:
                more |= {"set": members(found)} if members else {}
                more |= {"map": maps(found, rows.rows + 1)} if maps else {}
            rows.write(found, **more)
    tally.report()
    print(_calibration(bundle, classnames))
    if args.out:
        print(f"predictions in '{args.out}'")
    return UNREADABLE if tally.errors else 0


def _predictor(bundle: "Bundle", args: argparse.Namespace) -> "Predictor":
    from trainers.predictor import Predictor

    predictor = Predictor(bundle, backbone_path=args.backbone_path, classnames=args.classes, precision=args.precision)
    predictor.batch_size = args.batch_size or predictor.batch_size
    return predictor


def _prediction_sets(bundle: "Bundle", classnames: list[str]) -> Callable[["Prediction"], list[str]]:
    """A function that gives the classes in the prediction set of an image."""
    conformal = bundle.calibration.get("conformal")
    if not conformal:
        raise InputError(
            f"--sets: the bundle '{bundle.where}' has no threshold for prediction sets; label some images that were "
            "not trained on, and run: python -m biomed_dpt calibrate BUNDLE LABELLED.csv"
        )
    if classnames != bundle.classnames:
        raise InputError("--sets: prediction sets are calibrated for the bundle's own classes; leave out --classes")
    import torch

    from trainers.calibration import prediction_sets

    def members(found: "Prediction") -> list[str]:
        chosen = prediction_sets(torch.from_numpy(found.probabilities)[None], conformal["threshold"], conformal["kind"])
        return [name for name, inside in zip(classnames, chosen[0].tolist(), strict=True) if inside]

    return members


def _make_folder(path: str) -> None:
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as error:
        raise OutputError(path, error) from error


def _maps(predictor: "Predictor", folder: str) -> Callable[["Prediction", int], str]:
    """A function that writes the map of an image and returns its path; the number of the row makes the name unique."""
    from biomed_dpt.explain import explain

    def write(found: "Prediction", row: int) -> str:
        path = Path(folder) / f"{row:05}-{file_name(Path(found.file).stem)}.png"
        explain(predictor, predictor.reader(found.file)).save(path)
        return str(path)

    return write


def _calibration(bundle: "Bundle", classnames: list[str]) -> str:
    from trainers.bundle import UNCALIBRATED

    about = bundle.calibration
    if classnames != bundle.classnames:
        return "probabilities are not calibrated: the classes are not those of the bundle"
    if about["fitted_on"] == UNCALIBRATED:
        return "probabilities are not calibrated"
    images = f" ({about['images']} images)" if "images" in about else ""
    return f"probabilities are calibrated on {about['fitted_on']}{images}"


class Tally:
    """Counts predictions, for the last lines of the output.

    Attributes:
        classes: the number of images by predicted class.
        errors: the number of files that could not be read.
        notes: what was done to images that are not plain 8 bit -> their number.
    """

    def __init__(self, classnames: Sequence[str]):
        self.classes = Counter(dict.fromkeys(classnames, 0))
        self.errors = 0
        self.notes: Counter[str] = Counter()
        self._names, self._started = list(classnames), time.monotonic()

    def counted(self, found: Any, total: int) -> Any:
        """The same predictions, counted and shown in a progress bar."""
        from tqdm import tqdm

        for one in tqdm(found, "predicting", total, unit="image", delay=2):
            self.notes.update(one.notes)
            if one.probabilities is None:
                self.errors += 1
            else:
                self.classes[self._names[one.ranked[0]]] += 1
            yield one

    def report(self) -> None:
        from datasets.image_check import print_notes

        took, images = time.monotonic() - self._started, self.classes.total()
        print(f"predicted {images:,} images in {took:.1f} s")
        for name, count in self.classes.items():
            print(f"  {count:6,}  {printable(name)}")
        if self.errors:
            print(f"{self.errors:,} files could not be read; the column 'error' says why")
        print_notes(dict(sorted(self.notes.items())), images)
