"""The base class of data sets: lists of image paths with labels."""

import os
import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from PIL import Image
from yacs.config import CfgNode

from dassl.errors import InputError, unknown_name
from dassl.utils import read_image


class Datum:
    """One image: `impath`, `label` (int), `domain` (int), `classname`."""

    def __init__(self, impath: str = "", label: int = 0, domain: int = 0, classname: str = ""):
        self._impath = impath
        self._label = label
        self._domain = domain
        self._classname = classname

    impath = property(lambda self: self._impath)
    label = property(lambda self: self._label)
    domain = property(lambda self: self._domain)
    classname = property(lambda self: self._classname)

    def __repr__(self) -> str:
        return f"Datum({self.impath!r}, label={self.label}, classname={self.classname!r})"


def draw_per_class(
    items: list, count: int, label_of: Callable, rng: random.Random | ModuleType = random, repeat: bool = False
) -> list:
    """Draw `count` items of each label with `rng.sample`, in the order of the labels' first appearance.

    If a label has fewer items, all of them are taken; with `repeat`, `count` items are drawn with replacement.
    """
    by_label = defaultdict(list)
    for item in items:
        by_label[label_of(item)].append(item)
    drawn: list = []
    for of_label in by_label.values():
        if len(of_label) >= count:
            drawn += rng.sample(of_label, count)
        else:
            drawn += rng.choices(of_label, k=count) if repeat else of_label
    return drawn


class DatasetBase:
    """A data set: training, validation and test images, each a list of Datum.

    The class names are those of the training images, unless they are given in label order as `classnames`.

    Attributes:
        prompts: name of a prompt file, for methods that use one.
        split: the split of the data set and its origin, for data sets that record them; else None.
    """

    dataset_dir: str | Path = ""
    domains: Sequence[str] = ()
    prompts = ""
    split: Any = None

    def __init__(
        self,
        train_x: list[Datum] | None = None,
        train_u: list[Datum] | None = None,
        val: list[Datum] | None = None,
        test: list[Datum] | None = None,
        classnames: Sequence[str] | None = None,
    ):
        self._train_x = train_x
        self._train_u = train_u
        self._val = val
        self._test = test
        if classnames is None:
            self._lab2cname, self._classnames = self.get_lab2cname(train_x or [])
            self._num_classes = self.get_num_classes(train_x or [])
        else:
            self._lab2cname, self._classnames = dict(enumerate(classnames)), list(classnames)
            self._num_classes = len(classnames)

    train_x = property(lambda self: self._train_x)
    train_u = property(lambda self: self._train_u)
    val = property(lambda self: self._val)
    test = property(lambda self: self._test)
    lab2cname = property(lambda self: self._lab2cname)
    classnames = property(lambda self: self._classnames)
    num_classes = property(lambda self: self._num_classes)

    def test_of(self, which: str) -> tuple[list[Datum], list[str]]:
        """Return the test images and the class names of "base" or "new" classes; not all data sets support this."""
        raise InputError(
            f"the data set {type(self).__name__} cannot list the test images of its {which} classes, which this "
            "protocol needs; override `test_of`, or use the few-shot protocol"
        )

    def patients_of(self, items: list[Datum]) -> list[str] | None:
        """Return the patient of each image; None where the data set does not know them."""
        return None

    @classmethod
    def image_reader(cls, cfg: CfgNode) -> Callable[[str], Image.Image]:
        """Return the function that reads an image file as RGB; its `repr` names everything that changes the pixels."""
        return read_image

    @staticmethod
    def get_num_classes(data_source: list[Datum]) -> int:
        return max(item.label for item in data_source) + 1

    @staticmethod
    def get_lab2cname(data_source: list[Datum]) -> tuple[dict[int, str], list[str]]:
        """Return the mapping from labels to class names, and the names in label order."""
        mapping = {item.label: item.classname for item in data_source}
        return mapping, [mapping[label] for label in sorted(mapping)]

    def check_input_domains(self, source_domains: Sequence[str], target_domains: Sequence[str]) -> None:
        for domain in (*source_domains, *target_domains):
            if domain not in self.domains:
                raise unknown_name("domain", domain, self.domains)

    def split_dataset_by_label(self, data_source: list[Datum]) -> dict[int, list[Datum]]:
        """Group images by label, in the order of the labels' first appearance."""
        by_label = defaultdict(list)
        for item in data_source:
            by_label[item.label].append(item)
        return by_label

    def split_dataset_by_domain(self, data_source: list[Datum]) -> dict[int, list[Datum]]:
        """Group images by domain, in the order of the domains' first appearance."""
        by_domain = defaultdict(list)
        for item in data_source:
            by_domain[item.domain].append(item)
        return by_domain

    def generate_fewshot_dataset(
        self,
        *data_sources: list[Datum],
        num_shots: int = -1,
        repeat: bool = False,
        rng: random.Random | ModuleType = random,
    ) -> list[Datum] | list[list[Datum]]:
        """Draw `num_shots` images of each class from every list, with `rng.sample`.

        See `draw_per_class` for classes with fewer images. The default `rng` is Python's global generator, which
        CoOp-style code seeds. For a single list the result is a list, for several a list of lists.
        """
        if num_shots < 1:
            return data_sources[0] if len(data_sources) == 1 else list(data_sources)
        output = [
            draw_per_class(source, num_shots, label_of=lambda item: item.label, rng=rng, repeat=repeat)
            for source in data_sources
        ]
        return output[0] if len(output) == 1 else output

    def download_data(self, url: str, dst: str, from_gdrive: bool = True) -> None:
        """Download an archive to `dst` and unpack it in the same folder."""
        from dassl.data.datasets.download import download, unpack

        os.makedirs(os.path.dirname(dst), exist_ok=True)
        download(url, dst, from_gdrive)
        unpack(dst, os.path.dirname(dst))
