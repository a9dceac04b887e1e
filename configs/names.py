"""Names of methods, backbones and data sets, read from their declarations; needs neither torch nor a registry."""

from functools import cache
from pathlib import Path

from dassl.config import parse_yaml
from dassl.discovery import declarations, declared_names

PROJECT = Path(__file__).resolve().parent.parent
DATASET_FILES = PROJECT / "configs" / "datasets"
METHOD_FILES = PROJECT / "configs" / "trainers"
PROTOCOLS = ("few_shot", "base2new")


@cache
def method_names() -> tuple[str, ...]:
    """The methods of this project, sorted: classes in trainers/ that are registered by a decorator."""
    return tuple(sorted(declared_names(PROJECT / "trainers", {"register_method"})))


@cache
def backbone_names() -> tuple[str, ...]:
    """The backbones of this project, sorted: classes in clip/ that are registered by a decorator."""
    return tuple(sorted(declared_names(PROJECT / "clip", {"BACKBONE_REGISTRY.register"})))


@cache
def dataset_names() -> tuple[str, ...]:
    """The data sets of this project, sorted: the yaml files in configs/datasets/."""
    return tuple(sorted(path.stem for path in DATASET_FILES.glob("*.yaml")))


@cache
def paper_datasets() -> tuple[str, ...]:
    """The data sets of the Biomed-DPT paper, sorted: those whose class says `in_paper = True`."""
    classes = declarations(PROJECT / "datasets", {"DATASET_REGISTRY.register"})
    return tuple(name for name in dataset_names() if classes[_class_of(name)].constants.get("in_paper"))


def method_file(method: str) -> Path:
    """The file with a method's settings; it need not exist."""
    return METHOD_FILES / f"{method}.yaml"


def is_path(dataset: str) -> bool:
    """Whether the name of a data set is a path to a yaml file instead."""
    return "/" in dataset or "\\" in dataset or dataset.endswith((".yaml", ".yml"))


def _class_of(dataset: str) -> str:
    return parse_yaml((DATASET_FILES / f"{dataset}.yaml").read_text(encoding="utf-8"))["DATASET.NAME"]
