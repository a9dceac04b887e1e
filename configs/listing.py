"""The lists that `train.py --list` prints: methods, backbones and data sets, or one method with its settings."""

import inspect
from collections.abc import Mapping

from tabulate import tabulate

from clip import BACKBONE_REGISTRY
from configs.declared import declared, is_method, why_unsupported
from configs.default import default_cfg
from configs.names import PROTOCOLS, dataset_names, method_file
from dassl.config import declared_keys
from dassl.config.schema import Declaration, declarations, describe
from dassl.engine import TRAINER_REGISTRY

YES, NO = "yes", "–"


def everything() -> str:
    """All tables, as text."""
    return (
        f"Methods (--trainer); trainable parameters on BiomedCLIP with 4 classes and 16 shots:\n\n{method_table()}\n\n"
        f"Backbones (--backbone):\n\n{backbone_table()}\n\n"
        f"Data sets (--dataset): {', '.join(dataset_names())}; or a yaml file of your own\n\n"
        f"Protocols (--protocol): {', '.join(PROTOCOLS)}"
    )


def settings_page() -> str:
    """The general settings, which are all keys but those of the methods, with their rules."""
    keys = declared_keys()
    nodes = list(dict.fromkeys(key.rpartition(".")[0] for key in keys))
    ordered = {key: keys[key] for key in sorted(keys, key=lambda key: nodes.index(key.rpartition(".")[0]))}
    return (
        "Keys of yaml files, and of KEY VALUE pairs at the end of a command line. The rules of a list hold for each of "
        f"its elements. A method has settings of its own: python train.py --list METHOD.\n\n{_table(ordered, 'key')}"
    )


def _table(keys: Mapping[str, Declaration], title: str) -> str:
    header = [title, "type", "default", "allowed", "meaning"]
    return tabulate(describe(keys), header, tablefmt="github", disable_numparse=True)


def method_page(name: str) -> str:
    """What one method is, its settings with their defaults, and its configuration file.

    Raises:
        InputError: there is no such method.
    """
    method = TRAINER_REGISTRY.get(name)
    summary = inspect.cleandoc(method.__doc__ or "").partition("\n\n")[0]
    parts = [name, summary]
    if is_method(name):
        parts.append(_table(declarations(declared(name).Config), f"TRAINER.{name.upper()}.…"))
    path = method_file(name)
    if path.is_file():
        parts.append(f"configs/trainers/{path.name}:\n\n{path.read_text(encoding='utf-8').rstrip()}")
    return "\n\n".join(parts)


def method_table() -> str:
    """What each method learns, its source, what it was verified against, and what it can be used with."""
    names = BACKBONE_REGISTRY.registered_names()
    transformers = [name for name in names if BACKBONE_REGISTRY.get(name).image_tokens]
    rows = []
    for name in sorted(filter(is_method, TRAINER_REGISTRY.registered_names()), key=str.lower):
        method = declared(name)
        backbones = admitted(name)
        where = "all" if len(backbones) == len(names) else ", ".join(backbones)
        where = "vision transformers" if backbones == transformers != admitted("ZeroShot") else where
        new = YES if admitted(name, "base2new") else NO
        count = f"{method.trainable_parameters:,}"
        rows.append([f"`{name}`", method.learns, count, method.source, method.verified_against, where, new])
    header = [
        "method",
        "what is learned",
        "trainable parameters",
        "source",
        "verified against",
        "backbones",
        "base2new",
    ]
    return tabulate(rows, headers=header, tablefmt="github", disable_numparse=True)


def backbone_table() -> str:
    """Backbones and the first line of their descriptions."""
    rows = []
    for name in BACKBONE_REGISTRY.registered_names():
        card = (BACKBONE_REGISTRY.get(name).__doc__ or "").strip().splitlines()[0]
        rows.append([name, card])
    return tabulate(rows, headers=["backbone", "card"], tablefmt="github")


def admitted(method: str, protocol: str = "few_shot") -> list[str]:
    """The backbones that a method works on under a protocol, with its default settings."""
    cfg, found = default_cfg(), []
    cfg.PROTOCOL = protocol
    for name in BACKBONE_REGISTRY.registered_names():
        cfg.MODEL.BACKBONE.NAME = name
        if not why_unsupported(method, cfg):
            found.append(name)
    return found
