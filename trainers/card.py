"""The model card of a bundle: README.md with the metadata that the Hugging Face hub reads.

Class names, data sets and other texts come from users and from files: they reach YAML and Markdown only escaped.
"""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

import yaml

from clip import BACKBONE_REGISTRY
from dassl.errors import printable
from dassl.utils.markdown import markdown
from trainers.bundle import UNCALIBRATED
from trainers.registry import METHOD_REGISTRY

ALL_IMAGES = -1  # the number of shots that stands for all training images
# Metrics by their name in bundle.json: in the table, and as the type that the hub knows, "" where it knows none.
METRICS = {
    "accuracy": ("accuracy in %", "accuracy"),
    "balanced_accuracy": ("balanced accuracy in %", ""),
    "macro_f1": ("macro-F1 in %", "f1"),
    "auroc": ("AUROC in %", "roc_auc"),
    "ece": ("calibration error in %", ""),
    "brier": ("Brier score", "brier_score"),
}
USE = """\
The toolkit biomed-dpt predicts with this model. BUNDLE is this folder, or `hf://USER/NAME` for a repository on the hub.

```bash
python predict.py BUNDLE scans/ --out predictions.csv
```

```python
from biomed_dpt import load

predictor = load("BUNDLE")
pixels = predictor.pixels([predictor.reader("scan.png")])
probabilities = predictor.probabilities(predictor.logits(predictor.features(pixels)))  # (images, classes)
```"""
LIMITS = """\
For research only. This is not a medical device: it must not be used to diagnose or to treat. It was made from few
images, and its results on images of other scanners, hospitals or patients may be far worse. It gives one of its
classes for any image, also for one that shows something else.

No licence is stated. Whoever publishes the model adds `license:` to the metadata. The weights of the backbone have a
licence of their own."""


def card(about: Mapping[str, Any]) -> str:
    """The text of README.md for the content of a bundle.json that `trainers.bundle` has checked."""
    sections = {
        "Classes": _table(["label", "class"], list(enumerate(about["classes"]))),
        "Use": USE,
        "Training": _table(["", ""], _training(about["provenance"])),
        "Results": _results(about),
        "Calibration": _calibration(about["calibration"]),
        "Preprocessing": _table(["setting", "value"], [(k, _listed(v)) for k, v in about["preprocessing"].items()]),
        "Limits": LIMITS,
        "Provenance": _table(["", ""], _provenance(about)),
    }
    metadata = yaml.safe_dump(_metadata(about), allow_unicode=True, sort_keys=False, width=1000)
    parts = [f"---\n{metadata}---", f"# {markdown(_title(about))}", _what_it_is(about)]
    parts += [f"## {title}\n\n{text}" for title, text in sections.items()]
    return "\n\n".join(parts) + "\n"


def _title(about: Mapping[str, Any]) -> str:
    return f"{about['method']} on {about['backbone']['name']}"


def _what_it_is(about: Mapping[str, Any]) -> str:
    name, method = about["method"], _method(about)
    text = f"An image classifier of {len(about['classes'])} classes, learned from few images by {markdown(name)}"
    text += f" ({markdown(method.source)}; learned: {markdown(method.learns)})" if method else ""
    return (
        f"{text} on the frozen backbone {markdown(about['backbone']['name'])}, whose weights are not part of it.\n\n"
        "**For research only. Not a medical device.**"
    )


def _method(about: Mapping[str, Any]) -> Any:
    return METHOD_REGISTRY.get(about["method"]) if about["method"] in METHOD_REGISTRY else None


def _metadata(about: Mapping[str, Any]) -> dict[str, Any]:
    method, backbone = _method(about), about["backbone"]["name"]
    prompts = method is not None and any(word in method.learns for word in ("context", "tokens"))
    tags = ["biomedical", "few-shot", *["prompt-tuning"] * prompts, about["method"], backbone]
    found: dict[str, Any] = {"library_name": "biomed-dpt", "pipeline_tag": "image-classification"}
    found["tags"] = [printable(tag, keep="") for tag in tags]
    # A class that is derived from another backbone does not have its weights.
    base = vars(BACKBONE_REGISTRY.get(backbone)).get("hub_id", "") if backbone in BACKBONE_REGISTRY else ""
    found |= {"base_model": base} if base else {}
    results = [_result(about, part, metrics) for part, metrics in _tested(about)]
    return found | (
        {"model-index": [{"name": printable(_title(about), keep=""), "results": results}]} if results else {}
    )


def _result(about: Mapping[str, Any], part: str, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """One result of the hub's model-index."""
    dataset = printable(str(about["provenance"].get("dataset", "unknown")), keep="")
    values = [
        {"type": kind or key, "value": round(float(metrics[key]), 4), "name": title}
        for key, (title, kind) in METRICS.items()
        if _is_number(metrics.get(key))
    ]
    where = {"name": f"{dataset}, {printable(part, keep='')} classes", "type": dataset, "split": "test"}
    return {"task": {"type": "image-classification"}, "dataset": where, "metrics": values}


def _tested(about: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """The metrics of the run's test by the classes tested: all of them, or base and new ones."""
    metrics = about.get("metrics")
    parts = metrics.items() if isinstance(metrics, Mapping) else ()
    return [(part, found) for part, found in parts if isinstance(found, Mapping) and _is_number(found.get("accuracy"))]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def _results(about: Mapping[str, Any]) -> str:
    tested = _tested(about)
    if not tested:
        return "None are stored."
    keys = [key for key in METRICS if any(_is_number(metrics.get(key)) for _, metrics in tested)]
    rows = [[part, metrics.get("total", "?"), *(_number(metrics.get(key)) for key in keys)] for part, metrics in tested]
    header = ["classes", "images", *(METRICS[key][0] for key in keys)]
    return f"On the test images of the run:\n\n{_table(header, rows)}"


def _number(value: Any) -> str:
    return f"{value:.4g}" if _is_number(value) else "–"


def _training(provenance: Mapping[str, Any]) -> list[tuple[str, Any]]:
    shots, images = provenance.get("shots"), provenance.get("training_images")
    rows = {
        "source": provenance.get("source"),
        "data set": provenance.get("dataset"),
        "protocol": provenance.get("protocol"),
        "shots": "all images" if shots == ALL_IMAGES else shots,
        "seed": provenance.get("seed"),
        "fold": provenance.get("fold"),
        "training images": len(images) if isinstance(images, Sequence) and not isinstance(images, str) else None,
    }
    return [(name, value) for name, value in rows.items() if value is not None] or [("source", "unknown")]


def _calibration(calibration: Mapping[str, Any]) -> str:
    if calibration["fitted_on"] == UNCALIBRATED:
        text = "Uncalibrated: the probabilities are the softmax of the logits."
    else:
        text = (
            f"The logits are divided by the temperature {calibration['temperature']:.4g}, which was fitted on "
            f"{markdown(calibration.get('images', '?'))} images ({markdown(calibration['fitted_on'])})."
        )
    sets = calibration.get("conformal")
    if not isinstance(sets, Mapping):
        return text
    kind, coverage, images = (markdown(sets.get(key, "?")) for key in ("kind", "coverage", "images"))
    return (
        f"{text}\n\nPrediction sets ({kind}) hold the true class with probability {coverage} or more, on images like "
        f"the {images} that they were calibrated on."
    )


def _provenance(about: Mapping[str, Any]) -> list[tuple[str, Any]]:
    environment = about["provenance"].get("environment")
    facts = environment.items() if isinstance(environment, Mapping) else ()
    weights = [
        ("backbone's weights (digest)", about["backbone"]["digest"]),
        ("bundle's format", about.get("format", 1)),
    ]
    return [*weights, *((str(name), value) for name, value in facts if value is not None)]


def _listed(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [header, ["---"] * len(header), *([markdown(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
