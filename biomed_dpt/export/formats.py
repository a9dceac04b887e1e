"""The file formats of exported models: how each is written, and read back for the comparison with PyTorch."""

import contextlib
import json
import logging
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dassl.errors import InputError, first_line, shown

if TYPE_CHECKING:
    from torch import Tensor

    from trainers.predictor import Predictor

INPUT, OUTPUTS = "pixels", ("logits", "probabilities")
KEY = "biomed_dpt"  # of the metadata in an ONNX file
EXTRA_FILE = "metadata.json"  # in a program of torch.export
SMALLEST_OPSET = 18  # of torch's exporter
ONNX_LIBRARIES = ("onnx", "onnxscript", "onnxruntime")
# An exported model: from pixels (N, 3, H, W) to logits (N, C) and probabilities (N, C).
Run = Callable[["Tensor"], tuple["Tensor", "Tensor"]]


@dataclass(frozen=True)
class Format:
    """A file format.

    Attributes:
        write: writes a predictor with metadata to a file, with a version of ONNX's operators or None.
        load: reads a file that was just written.
    """

    write: Callable[["Predictor", Path, dict[str, Any], int | None], None]
    load: Callable[[Path], Run]


def format_of(path: str | Path, opset: int | None = None) -> Format:
    """The format that the suffix of a file's name stands for.

    Raises:
        InputError: another suffix, a missing library, or an opset that does not go with it.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in FORMATS:
        raise InputError(f"'{path}' has the suffix {shown(suffix)}; the name must end in {' or '.join(FORMATS)}")
    if suffix == ".onnx":
        missing = [name for name in ONNX_LIBRARIES if find_spec(name) is None]
        if missing:
            raise InputError(f"export to ONNX needs {', '.join(missing)}: pip install -r requirements-export.txt")
        if opset is not None and opset < SMALLEST_OPSET:
            raise InputError(f"the opset is {opset}; it must be at least {SMALLEST_OPSET}")
    elif opset is not None:
        raise InputError(f"an opset is for ONNX files, and '{path}' is none; leave it out")
    return FORMATS[suffix]


def write_program(predictor: "Predictor", path: Path, metadata: dict[str, Any], _opset: int | None = None) -> None:
    """Write a program of torch.export, with the metadata as the extra file metadata.json."""
    import torch

    with _conversion_of(predictor):
        program = trace(predictor)
        program.example_inputs = None  # otherwise the file holds them
        with path.open("wb") as file:
            torch.export.save(program, file, extra_files={EXTRA_FILE: json.dumps(metadata)})


def load_program(path: Path) -> Run:
    """Read a program of torch.export that this process has written."""
    import torch

    with path.open("rb") as file:
        module = torch.export.load(file).module()

    def run(pixels: "Tensor") -> tuple["Tensor", "Tensor"]:
        with torch.no_grad():
            return module(pixels)

    return run


def write_onnx(predictor: "Predictor", path: Path, metadata: dict[str, Any], opset: int | None = None) -> None:
    """Write an ONNX file that holds its weights, with the metadata as JSON under the key "biomed_dpt"."""
    import torch

    with _conversion_of(predictor):
        exported = torch.onnx.export(
            trace(predictor),
            dynamo=True,
            input_names=[INPUT],
            output_names=OUTPUTS,
            opset_version=opset,
            dynamic_shapes={INPUT: {0: "batch"}},
            external_data=False,
            verbose=False,
        )
        exported.model.metadata_props[KEY] = json.dumps(metadata)
        exported.save(path, external_data=False)
        written = exported.model.opset_imports[""]
    if opset is not None and written != opset:
        raise InputError(f"the model cannot be converted to opset {opset}, only to {written}; leave the opset out")


def load_onnx(path: Path) -> Run:
    """Read an ONNX file with onnxruntime, on the CPU."""
    import onnxruntime
    import torch

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def run(pixels: "Tensor") -> tuple["Tensor", "Tensor"]:
        logits, probabilities = session.run(list(OUTPUTS), {INPUT: pixels.numpy()})
        return torch.from_numpy(logits), torch.from_numpy(probabilities)

    return run


def trace(predictor: "Predictor") -> Any:
    """The `torch.export.ExportedProgram` of a predictor, for any number of images."""
    import torch

    from biomed_dpt.export.classifier import ImageClassifier

    height, width = predictor.bundle.about["preprocessing"]["SIZE"]
    example = torch.zeros(2, 3, height, width)  # an example of one image would fix the number at one
    shapes = {INPUT: {0: torch.export.Dim("batch", min=1)}}
    with torch.no_grad():
        return torch.export.export(ImageClassifier(predictor), (example,), dynamic_shapes=shapes, strict=False)


@contextlib.contextmanager
def _conversion_of(predictor: "Predictor") -> Iterator[None]:
    """Silence torch's exporters, and turn what they raise into an InputError."""
    logger = logging.getLogger("onnxscript")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (InputError, OSError):
        raise
    except Exception as error:  # torch's exporters raise errors of many classes
        method, backbone = predictor.bundle.method, predictor.bundle.backbone
        raise InputError(f"{method} on {backbone} cannot be exported: {first_line(error)}") from error
    finally:
        logger.setLevel(level)


FORMATS = {".onnx": Format(write_onnx, load_onnx), ".pt2": Format(write_program, load_program)}
