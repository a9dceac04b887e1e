"""Text features that the score of a class is computed with: frozen ones, and those of tuned contexts."""

from collections.abc import Sequence

from torch import Tensor

from biomed_dpt.hub import open_bundle
from clip import Backbone
from dassl.config.schema import defaults_of
from dassl.errors import InputError, unknown_name
from trainers.frozen_text import FrozenText
from trainers.method import Method
from trainers.predictor import Predictor
from trainers.teacher import mean_feature

TEMPLATE, ENSEMBLE = TEXTS = ("template", "ensemble")
Texts = dict[str, Tensor]


def frozen_texts(method: Method, names: Sequence[str]) -> Texts:
    """Normalised text features (C, D) without training, by name.

    Args:
        method: gives the classes, the prompt file and the encoder.
        names: of TEXTS: the clinical template of the data set, and the mean of the sentences of each class.

    Raises:
        InputError: an unknown name, or the data set has no prompt file.
    """
    found: Texts = {}
    for name in names:
        if name == TEMPLATE:
            found[name] = method.template_features(method.prompts.template, method.classnames)
        elif name == ENSEMBLE:
            found[name] = mean_feature(
                method.sentence_features(method.classnames, defaults_of(FrozenText.Config)["N_PROMPTS"])
            )
        else:
            raise unknown_name("text", name, TEXTS)
    return found


def tuned_texts(bundles: Sequence[str], classnames: Sequence[str], backbone: Backbone) -> Texts:
    """Normalised text features (C, D) of bundles, by the method's name; the second of one method gets a number.

    Raises:
        InputError: a bundle cannot be read, has other classes or was made with other weights, or its predictions do not
            come from text features of all images and a frozen image tower.
    """
    found: Texts = {}
    for path in bundles:
        bundle = open_bundle(path)
        if bundle.classnames != list(classnames):
            raise InputError(
                f"the bundle '{path}' has the classes {bundle.classnames}, the data set {list(classnames)}"
            )
        method = Predictor(bundle, backbone).method
        if reason := _why_unsuited(method):
            raise InputError(f"the bundle '{path}' holds {bundle.method}, {reason}; name one of CoOp or BiomedDPT, say")
        same = sum(name.split(" #")[0] == bundle.method for name in found)
        found[f"{bundle.method} #{same + 1}" if same else bundle.method] = method.text_features().detach()
    return found


def _why_unsuited(method: Method) -> str:
    kind = type(method)
    if method.text_depends_on_image:
        return "whose text features differ from image to image"
    if kind.logits is not Method.logits:
        return "whose scores do not come from text features alone"
    if not method.image_tower_is_frozen or kind.adapted is not Method.adapted:
        return "which changes the image tower"
    return ""
