"""Export a tuned model as one file, ONNX or a program of torch.export, that predicts without this project.

docs/EXPORT.md describes the files.
"""

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from biomed_dpt.export.difference import Difference, largest_difference
from biomed_dpt.export.formats import Format, format_of
from biomed_dpt.export.metadata import metadata
from dassl.errors import InputError
from dassl.utils import atomic_path
from trainers.bundle import Bundle

if TYPE_CHECKING:
    from trainers.predictor import Predictor

TOLERANCE = 1e-4


def export_model(
    predictor: "Predictor",
    path: str | Path,
    *,
    opset: int | None = None,
    tolerance: float = TOLERANCE,
    report: Callable[[str], None] = print,
) -> Difference:
    """Write the image tower and the head of a predictor to one file, after a comparison with PyTorch.

    The model maps "pixels" (N, 3, H, W), float32 and normalised, to "logits" (N, C) and "probabilities" (N, C), which
    are the softmax of the logits divided by the predictor's temperature. It computes in fp32.

    Args:
        predictor: a `trainers.predictor.Predictor` on the CPU; its classes and temperature are those of the file.
        path: the file; its suffix, .onnx or .pt2, says the format. A file that is there is replaced.
        opset: version of ONNX's operators; the default of torch if it is not given.
        tolerance: the largest difference from PyTorch that is accepted, see `Difference.largest`.
        report: gets the lines that are to be printed.

    Returns:
        The difference from PyTorch.

    Raises:
        InputError: the text depends on the image, the suffix is unknown, a library is missing, the predictor is not on
            the CPU, the model cannot be traced, or it differs from PyTorch by more than the tolerance.
        OutputError: the file cannot be written.
    """
    file_format = refuse_what_cannot_be_exported(predictor.bundle, path, opset, tolerance)
    if predictor.device.type != "cpu":
        raise InputError(f"export needs a predictor on the CPU, this one is on {predictor.device}; use device='cpu'")
    predictor = _in_fp32(predictor, report)
    with atomic_path(path) as temporary:
        file_format.write(predictor, temporary, metadata(predictor), opset)
        difference = largest_difference(file_format.load(temporary), predictor)
        report(str(difference))
        if not difference.largest <= tolerance:
            raise InputError(
                f"'{path}' is not written: the exported model differs from PyTorch by {difference.largest:.2g}, more "
                f"than the tolerance of {tolerance:g}; try the other format or another --opset, or raise --tolerance"
            )
    return difference


def refuse_what_cannot_be_exported(
    bundle: Bundle, path: str | Path, opset: int | None = None, tolerance: float = TOLERANCE
) -> Format:
    """Refuse what can be refused before a backbone is loaded; returns the format that the file's suffix names.

    Raises:
        InputError: the text depends on the image, the suffix is unknown, a library is missing, the opset does not go
            with the format, or the tolerance is no number above 0.
    """
    from trainers.registry import METHOD_REGISTRY

    if not (math.isfinite(tolerance) and tolerance > 0):
        raise InputError(f"the tolerance is {tolerance}; it must be a number above 0")
    if METHOD_REGISTRY.get(bundle.method).text_depends_on_image:
        raise InputError(
            f"{bundle.method} cannot be exported: it computes text features for every image, so the file would need "
            "the text tower too; use predict.py"
        )
    if Path(path).is_dir():
        raise InputError(f"'{path}' is a folder; name a file")
    return format_of(path, opset)


def _in_fp32(predictor: "Predictor", report: Callable[[str], None]) -> "Predictor":
    from trainers.precision import Precision

    names = {predictor.encoding.name, predictor.arithmetic.name} - {"fp32", "tf32"}
    if names:
        report(f"note: the bundle computes in {' and '.join(sorted(names))}; the exported model computes in fp32")
    plain = copy.copy(predictor)
    plain.encoding = plain.arithmetic = Precision("fp32", predictor.device)
    return plain
