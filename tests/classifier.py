"""What the tests of the classifier share: two classes of phantom images, and a classifier that is trained shortly."""

from types import SimpleNamespace

import numpy as np

from biomed_dpt import FewShotClassifier

NAMES = ["cyst in fatty tissue", "calcified cluster in fatty tissue"]  # not sorted
SHORT = {"OPTIM.MAX_EPOCH": 1}


def paths_of(root, name, places):
    return [str(root / "Phantom" / "Phantom" / name.replace(" ", "_") / f"phantom_{k:03d}.png") for k in places]


def two_classes(root):
    """Paths and names of 6 images of each of two classes, and others to predict."""
    given = [path for name in NAMES for path in paths_of(root, name, range(6))]
    unseen = [path for name in NAMES for path in paths_of(root, name, range(6, 10))]
    return SimpleNamespace(given=given, names=np.repeat(NAMES, 6), unseen=unseen)


def classifier(method="CoOp", **words):
    settings = SHORT if method == "CoOp" else {}
    return FewShotClassifier(method, classes=NAMES, **{"settings": settings, "verbose": 0, **words})
