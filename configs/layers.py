"""The yaml files as layers: flat settings by full key, with the place where they stand for error messages."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from yacs.config import CfgNode

from configs.declared import declared_setting
from configs.default import default_cfg
from configs.names import PROTOCOLS, dataset_names, method_file
from dassl.config import declared_keys, parse_yaml
from dassl.errors import InputError, unknown_name

Values = Mapping[str, Any]
PROMPTS = "DATASET.PROMPTS"
LARGEST_FILE = 2**20  # in bytes; configurations have some thousand


@dataclass(frozen=True)
class Layer:
    """Some settings: values by full key, such as OPTIM.LR, and the place where they stand."""

    where: str
    values: Values

    @property
    def node(self) -> CfgNode:
        """The values as nested nodes."""
        nested: dict[str, Any] = {}
        for key, value in self.values.items():
            *parents, last = key.split(".")
            node = nested
            for part in parents:
                node = node.setdefault(part, {})
            node[last] = value
        return CfgNode(nested)


def file_layer(path: Path) -> Layer:
    """A whole file: nested nodes, as in CoOp-style code, or keys with dots.

    A file that the key DATASET.PROMPTS names is looked for beside the configuration file first.
    """
    where = f"configuration file '{path}'"
    layer = _whole_file(where, _text(where, path))
    name = layer.values.get(PROMPTS)
    beside = path.parent / (name if name.endswith(".json") else f"{name}.json") if isinstance(name, str) else path
    if not name or not os.path.isfile(beside):
        return layer
    return Layer(where, {**layer.values, PROMPTS: str(beside)})


@lru_cache
def _whole_file(where: str, text: str) -> Layer:
    return Layer(where, dict(_flat(_parsed(where, text))))


def method_layers(trainer: str, names: Iterable[str]) -> list[Layer]:
    """Those of some sections that a method's file has, in the order of the names.

    Raises:
        InputError: the method has no file, or its file does not fit.
    """
    path = method_file(trainer)
    if not path.is_file():
        raise InputError(f"{trainer} has no configuration: write '{path}' (see docs/ADDING_A_METHOD.md)")
    sections = {layer.where: layer for layer in sections_of(trainer)}
    return [sections[where] for where in (_section(path, name) for name in names) if where in sections]


def section_names(protocol: str, dataset: str, shots: int) -> list[str]:
    """The names of the sections that apply to a run; each one overrides those before it."""
    with_shots = f"{protocol}/K{shots}"
    return ["common", protocol, with_shots, dataset, f"{protocol}/{dataset}", f"{with_shots}/{dataset}"]


def sections_of(trainer: str) -> list[Layer]:
    """All sections of a method's file."""
    path = method_file(trainer)
    where = f"configuration file '{path}'"
    return _sections(path, trainer, _text(where, path))


@lru_cache
def _sections(path: Path, trainer: str, text: str) -> list[Layer]:
    where, layers = f"configuration file '{path}'", []
    for name, content in _parsed(where, text).items():
        _check_section_name(where, str(name))
        if not isinstance(content, dict):
            raise InputError(f"{_section(path, name)} must hold KEY: VALUE pairs")
        node = f"TRAINER.{trainer.upper()}."
        values = {key if "." in key else node + key: value for key, value in _flat(content)}
        layers.append(Layer(_section(path, name), values))
    scratch = default_cfg()
    for layer in layers:
        merge(scratch, layer)
    return layers


def _section(path: Path, name: str) -> str:
    return f"configuration file '{path}', section '{name}'"


def _check_section_name(where: str, name: str) -> None:
    general = ["common", "published", *PROTOCOLS, *dataset_names()]
    found = re.fullmatch(r"(?P<protocol>\w+)(/K\d+)?(/(?P<dataset>[^/]+))?", name)
    if name not in general and (not found or found["protocol"] not in PROTOCOLS):
        raise InputError(f"{where}: {unknown_name('section', name, general)}")
    if found and found["dataset"] and found["dataset"] not in dataset_names():
        raise InputError(f"{where}, section '{name}': {unknown_name('dataset', found['dataset'], dataset_names())}")


def _text(where: str, path: Path) -> str:
    if not os.path.exists(path):
        raise InputError(f"{where} does not exist")
    if not os.path.isfile(path) or os.path.getsize(path) > LARGEST_FILE:
        raise InputError(f"{where} is no file of at most {LARGEST_FILE:,} bytes")
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{where} cannot be read: {error}") from error


def _parsed(where: str, text: str) -> dict:
    try:
        content = parse_yaml(text)
    except yaml.YAMLError as error:
        raise InputError(f"{where}: {error}") from error
    content = {} if content is None else content
    if not isinstance(content, dict):
        raise InputError(f"{where} must hold KEY: VALUE lines")
    return content


def _flat(content: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in content.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def merge(cfg: CfgNode, layer: Layer) -> None:
    """Put the values of a layer into a configuration, in place; an integer is accepted for a float.

    Raises:
        InputError: an unknown key, or a value of another type or one that the key does not allow.
    """
    undeclared = {}
    for key, value in layer.values.items():
        node = _node_of(cfg, key, layer.where)
        declaration = declared_keys().get(key) or declared_setting(key)
        if node is None or declaration is None:
            undeclared[key] = value
            continue
        try:
            node[key.rpartition(".")[2]] = declaration.parse(
                declaration.decoded(value) if isinstance(value, str) else value, key
            )
        except InputError as error:
            raise InputError(f"{layer.where}: {error}") from error
    if undeclared:
        _merge_by_defaults(cfg, Layer(layer.where, undeclared))


def _merge_by_defaults(cfg: CfgNode, layer: Layer) -> None:
    """Merge settings of a plain Dassl trainer, which have the types of their defaults."""
    try:
        cfg.merge_from_other_cfg(layer.node)
    except (ValueError, AssertionError, MemoryError, RecursionError) as error:
        raise InputError(f"{layer.where}: {error}") from error


def _node_of(cfg: CfgNode, key: str, where: str) -> CfgNode | None:
    """The node that holds a setting, given by its full key; None for a new key of a plain Dassl trainer.

    Raises:
        InputError: there is no such setting; the message names the keys of the same node.
    """
    node, parts = cfg, key.split(".")
    for depth, part in enumerate(parts):
        if node.is_new_allowed() and part not in node:
            return None
        if part not in node:
            known = [".".join([*parts[:depth], name]) for name in node]
            raise InputError(f"{where}: {unknown_name('configuration key', key, known)}")
        is_last = depth == len(parts) - 1
        if is_last and isinstance(node[part], CfgNode):
            names = ", ".join(f"{key}.{name}" for name in node[part])
            raise InputError(f"{where}: {key} is not a setting; its settings are {names}")
        if is_last:
            return node
        if not isinstance(node[part], CfgNode):
            raise InputError(f"{where}: {'.'.join(parts[: depth + 1])} is a setting; it must have a value, not keys")
        node = node[part]
    return node
