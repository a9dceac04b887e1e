"""The toolkit from Python: a few-shot classifier, and a tuned model outside its run.

from biomed_dpt import load
predictor = load("output/…/seed1")
"""

from importlib import import_module
from typing import Any

from biomed_dpt.packages import refuse_other_packages

refuse_other_packages()
_HOMES = {
    "Bundle": "trainers.bundle",
    "FewShotClassifier": "biomed_dpt.classifier",
    "Predictor": "trainers.predictor",
    "export_model": "biomed_dpt.export",
    "fetch_bundle": "biomed_dpt.hub",
    "load": "biomed_dpt.hub",
    "open_bundle": "biomed_dpt.hub",
    "push": "biomed_dpt.hub",
    "read_bundle": "trainers.bundle",
    "write_bundle": "trainers.bundle",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'biomed_dpt' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)
