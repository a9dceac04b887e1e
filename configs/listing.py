"""What there is: the tables of methods, backbones and data sets that the command line prints and the README shows."""

from tabulate import tabulate

from clip import BACKBONE_REGISTRY
from configs.build import PROTOCOLS, available_datasets, default_cfg
from dassl.engine import TRAINER_REGISTRY
from trainers.registry import METHOD_REGISTRY

YES, NO = "yes", "–"


def everything() -> str:
    """All tables, as text."""
    return (
        f"Methods (--trainer); numbers learned on BiomedCLIP with 4 classes and 16 shots:\n\n{method_table()}\n\n"
        f"Backbones (--backbone):\n\n{backbone_table()}\n\n"
        f"Data sets (--dataset): {', '.join(available_datasets())}; Folder for your own (README)\n\n"
        f"Protocols (--protocol): {', '.join(PROTOCOLS)}"
    )


def method_table() -> str:
    """What each method learns, where it is from, how it was checked, what it works with."""
    transformers = [name for name in BACKBONE_REGISTRY.registered_names() if BACKBONE_REGISTRY.get(name).image_tokens]
    rows = []
    for name in sorted(TRAINER_REGISTRY.registered_names(), key=str.lower):
        if name not in METHOD_REGISTRY:  # a plain Dassl trainer, which has no row
            continue
        method = METHOD_REGISTRY.get(name)
        backbones = admitted(name)
        where = "all" if len(backbones) == len(BACKBONE_REGISTRY.registered_names()) else ", ".join(backbones)
        where = "vision transformers" if backbones == transformers != admitted("ZeroShot") else where
        new = YES if admitted(name, "base2new") else NO
        rows.append(
            [
                f"`{name}`",
                method.learns,
                f"{method.trainable_parameters:,}",
                method.source,
                method.verified_against,
                where,
                new,
            ]
        )
    header = ["method", "what is learned", "numbers", "source", "checked against", "backbones", "base2new"]
    return tabulate(rows, headers=header, tablefmt="github", disable_numparse=True)


def backbone_table() -> str:
    """Backbones and the first sentence of their cards."""
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
        if not TRAINER_REGISTRY.get(method).why_unsupported(BACKBONE_REGISTRY.get(name), cfg):
            found.append(name)
    return found
