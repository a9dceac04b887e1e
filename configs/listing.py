"""The lists that `train.py --list` prints: methods, backbones and data sets, or one method with its settings."""

import inspect

from tabulate import tabulate

from clip import BACKBONE_REGISTRY
from configs.declared import declared, is_method, why_unsupported
from configs.default import default_cfg
from configs.names import PROTOCOLS, dataset_names, method_file
from dassl.config.schema import describe
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


def method_page(name: str) -> str:
    """What one method is, its settings with their defaults, and its configuration file.

    Raises:
        InputError: there is no such method.
    """
    method = TRAINER_REGISTRY.get(name)
    summary = inspect.cleandoc(method.__doc__ or "").partition("\n\n")[0]
    parts = [name, summary]
    if is_method(name):
        header = [f"TRAINER.{name.upper()}.…", "type", "default", "allowed", "meaning"]
        rows = describe(declared(name).Config)
        parts.append(tabulate(rows, header, tablefmt="github", disable_numparse=True))
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
