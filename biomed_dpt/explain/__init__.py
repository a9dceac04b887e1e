"""Which parts of an image the score of a class rests on, and which words a learned context is near to.

docs/EXPLAIN.md describes the explainers and what their maps cannot show.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from dassl.errors import InputError, unknown_name

if TYPE_CHECKING:
    from PIL import Image

    from biomed_dpt.explain.explanation import Explanation
    from biomed_dpt.explain.words import LearnedVector
    from trainers.predictor import Predictor

__all__ = ["AUTO", "EXPLAINERS", "explain", "nearest_words"]

AUTO = "auto"
# The explainers by name, and the module of this package whose function `evidence` computes the map.
EXPLAINERS = {
    "rollout": "rollout",
    "gradient-attention": "gradient_attention",
    "grad-eclip": "grad_eclip",
    "grad-cam": "grad_cam",
}


def explain(
    predictor: "Predictor", picture: "Image.Image", explainer: str = AUTO, classname: str | None = None
) -> "Explanation":
    """Compute a map over a picture of what the score (logit) of a class rests on.

    The computation is in fp32, whatever the precision of the predictor.

    Args:
        predictor: the tuned model.
        picture: an RGB picture, as `predictor.reader` returns it.
        explainer: a name of EXPLAINERS, or "auto": gradient-attention for vision transformers, grad-cam otherwise.
        classname: one of the predictor's classes; None for the class with the largest logit.

    Raises:
        InputError: the explainer or the class is unknown, the picture is not RGB, the image tower does not suit the
            explainer, or a library is missing.
    """
    import torch

    from biomed_dpt.explain.explanation import Explanation

    if explainer == AUTO:
        explainer = "gradient-attention" if predictor.backbone.image_tokens else "grad-cam"
    if explainer not in EXPLAINERS:
        raise unknown_name("explainer", explainer, (AUTO, *EXPLAINERS))
    names = predictor.classnames
    if classname is not None and classname not in names:
        raise unknown_name("class", classname, names)
    if picture.mode != "RGB":
        raise InputError(f"the picture has mode {picture.mode}; convert it to RGB, or read its file with the reader")
    pixels = predictor.pixels([picture]).to(predictor.device)
    label = None if classname is None else names.index(classname)
    compute = import_module(f"{__name__}.{EXPLAINERS[explainer]}").evidence
    crop = tuple(predictor.bundle.about["preprocessing"]["SIZE"])
    with torch.enable_grad(), torch.autocast(predictor.device.type, enabled=False):
        evidence = compute(predictor, pixels, label)
        return Explanation.of(evidence, picture, names[evidence.label], explainer, crop)


def nearest_words(predictor: "Predictor", count: int = 5) -> "list[LearnedVector]":
    """Find the words of the backbone's vocabulary that are nearest to each vector of a learned context.

    See `biomed_dpt.explain.words.nearest`.
    """
    from biomed_dpt.explain.words import nearest

    return nearest(predictor, count)
