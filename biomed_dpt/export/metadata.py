"""What an exported file says about itself: how images are prepared, and what the model is."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainers.predictor import Predictor

FORMAT = 1
PURPOSE = "For research only. Not a medical device."


def metadata(predictor: "Predictor") -> dict[str, Any]:
    """The content of the JSON that an exported file carries; docs/EXPORT.md lists its keys."""
    about = predictor.bundle.about
    preprocessing = about["preprocessing"]
    normalised = "normalize" in preprocessing["TRANSFORMS"]
    own_classes = predictor.classnames == predictor.bundle.classnames
    return {
        "format": FORMAT,
        "purpose": PURPOSE,
        "classes": predictor.classnames,
        "temperature": predictor.temperature,
        "calibration": predictor.bundle.calibration if own_classes else None,
        "size": list(preprocessing["SIZE"]),
        "interpolation": preprocessing["INTERPOLATION"],
        "mean": list(preprocessing["PIXEL_MEAN"]) if normalised else [0.0, 0.0, 0.0],
        "std": list(preprocessing["PIXEL_STD"]) if normalised else [1.0, 1.0, 1.0],
        "instance_norm": "instance_norm" in preprocessing["TRANSFORMS"],
        "orientation": preprocessing["ORIENTATION"],
        "method": predictor.bundle.method,
        "backbone": {"name": predictor.bundle.backbone, "digest": about["backbone"]["digest"]},
        "digest": about["digest"],
    }
