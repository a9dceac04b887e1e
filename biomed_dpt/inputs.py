"""What a caller gives to the classifier: lists of images, labels, and the names of classes."""

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from dassl.errors import InputError, shown
from trainers.bundle import classes_of


def images_of(X: Any, name: str = "X") -> list[Any]:
    """The images of a list, an array (N, H, W[, C]), a tensor (N[, C], H, W) or a torch data set, one by one.

    An item that is a tuple, such as (image, label) of a torch data set, stands for its first element.

    Raises:
        InputError: it is one image, a table, or no list.
    """
    return [item[0] if isinstance(item, tuple) else item for item in _items(X, name)]


def labelled_images(X: Any, y: Any, name: str = "X", y_name: str = "y") -> tuple[list[Any], np.ndarray]:
    """Images and their labels (N,); without `y` the items of `X` are pairs of an image and a label.

    Raises:
        InputError: as in `images_of`; no labels, another number of labels than of images, or labels that are no values.
    """
    items = _items(X, name)
    if y is None:
        if not items or not all(isinstance(item, tuple) and len(item) == 2 for item in items):
            raise InputError(
                f"{y_name} is None, and the items of {name} are no pairs of an image and a label; give {y_name}"
            )
        y = [item[1] for item in items]
    labels = np.asarray(y)
    if labels.shape != (len(items),):
        raise InputError(
            f"{y_name} has shape {labels.shape} for {len(items):,} images; it must have one label per image"
        )
    if labels.dtype.kind == "f" and not np.isfinite(labels).all():
        raise InputError(f"{y_name} holds NaN or infinite labels; remove these images")
    return [item[0] if isinstance(item, tuple) else item for item in items], labels


def _items(X: Any, name: str) -> list[Any]:
    if isinstance(X, str | bytes | os.PathLike | Image.Image):
        raise InputError(f"{name} is one image ({shown(X)}); give a list of images")
    dimensions = getattr(X, "ndim", None)
    if dimensions == 2 or (isinstance(X, np.ndarray) and dimensions == 3 and X.shape[2] in (1, 3, 4)):
        raise InputError(
            f"{name} has shape {tuple(X.shape)}; it must be a list of images, an array (N, H, W) or (N, H, W, C), or "
            "one column of paths"
        )
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(X, torch.utils.data.Dataset) and hasattr(X, "__len__"):
        return [X[place] for place in range(len(X))]
    try:
        items = list(X)
    except TypeError as error:
        raise InputError(f"{name} is {shown(X)}; it must be a list, an array or a torch data set of images") from error
    if not items:
        raise InputError(f"{name} holds no images; give at least one")
    return items


def distinct(labels: np.ndarray, name: str = "y") -> np.ndarray:
    """The sorted different labels.

    Raises:
        InputError: labels that cannot be sorted.
    """
    try:
        return np.unique(labels)
    except TypeError as error:
        raise InputError(f"the labels in {name} cannot be sorted: use labels of one type ({error})") from error


def read_classes(classes: Sequence[str] | Mapping[Any, str] | None, labels: np.ndarray) -> tuple[list[Any], list[str]]:
    """The label of each class, and its name in the texts, in the order of the model's logits.

    Args:
        classes: names in label order, or label -> name; None where the labels are the names.
        labels: the labels (N,) of the training images: names, integers from 0, or any C labels, in sorted order.

    Raises:
        InputError: names and labels do not fit, or there is no image of a class.
    """
    present = distinct(labels).tolist()
    own, names = _pairs(classes, present)
    unknown = [label for label in present if label not in own]
    if unknown:
        raise InputError(f"the labels {shown(unknown)} are not among the {len(own)} classes {shown(own)}")
    absent = [name for label, name in zip(own, names, strict=True) if label not in present]
    if absent:
        raise InputError(f"there are no images of {shown(absent)} in y; give at least one of each class")
    return own, names


def _pairs(classes: Any, present: list[Any]) -> tuple[list[Any], list[str]]:
    if classes is None:
        if not all(isinstance(label, str) for label in present):
            raise InputError("the labels are no names of classes; name these with `classes`, in label order")
        return present, classes_of(present)
    if isinstance(classes, Mapping):
        return list(classes), classes_of(list(classes.values()))
    if isinstance(classes, str):
        raise InputError(f"`classes` is {shown(classes)}; it must be a list of names")
    names = classes_of(list(classes))
    if set(present) & set(names):
        return list(names), names
    if all(isinstance(label, int) and 0 <= label < len(names) for label in present):
        return list(range(len(names))), names
    if len(present) != len(names):
        raise InputError(
            f"y has {len(present)} different labels, {shown(present)}, for {len(names)} classes {shown(names)}"
        )
    return present, names


def groups_of(groups: Any, count: int) -> list[Any] | None:
    """The patient of each image, as a list; None where patients are not known.

    Raises:
        InputError: another number of patients than of images.
    """
    if groups is None:
        return None
    found = np.asarray(groups)
    if found.shape != (count,):
        raise InputError(f"groups has shape {found.shape} for {count:,} images; it must name one patient per image")
    return found.tolist()
