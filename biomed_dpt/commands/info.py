"""Show what a bundle is: method, classes, backbone, calibration, provenance."""

import argparse

from biomed_dpt.arguments import add_bundle


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_bundle(parser)


def run(args: argparse.Namespace) -> None:
    from biomed_dpt.hub import open_bundle

    bundle = open_bundle(args.bundle)
    provenance = bundle.about["provenance"]
    calibration = bundle.calibration
    rows = {
        "method": bundle.method,
        "backbone": f"{bundle.backbone} (weights {bundle.about['backbone']['digest'][:12]})",
        "classes": ", ".join(bundle.classnames),
        "tensors": ", ".join(f"{name} {tuple(value.shape)}" for name, value in sorted(bundle.tensors.items())),
        "calibration": f"{_fitted(calibration)}, temperature {calibration['temperature']:.4g}",
        "sets": _sets(calibration.get("conformal")),
        "data set": provenance.get("dataset", "unknown"),
        "shots, seed": f"{provenance.get('shots', 'unknown')}, {provenance.get('seed', 'unknown')}",
    }
    print("\n".join(f"{name:12} {value}" for name, value in rows.items()))


def _fitted(calibration: dict) -> str:
    """What the temperature was fitted on, in words."""
    return calibration["fitted_on"] + (f" ({images} images)" if (images := calibration.get("images")) else "")


def _sets(conformal: dict | None) -> str:
    """The prediction sets in words."""
    if conformal is None:
        return "no prediction sets (python -m biomed_dpt calibrate)"
    return f"prediction sets {conformal['kind']}, coverage {conformal['coverage']}, from {conformal['images']} images"
