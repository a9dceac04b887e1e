"""What the registered methods declare about themselves."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from yacs.config import CfgNode

from clip import BACKBONE_REGISTRY
from dassl.config.schema import Declaration, declarations
from dassl.engine import TRAINER_REGISTRY
from trainers.method import Method
from trainers.registry import METHOD_REGISTRY


def is_method(trainer: str) -> bool:
    """Whether a trainer is that of a method; anything else is a plain Dassl trainer."""
    return trainer in METHOD_REGISTRY


def declared(trainer: str) -> type[Method]:
    """The class of a method, with its declarations."""
    return METHOD_REGISTRY.get(trainer)


def default_settings(trainer: str) -> Mapping[str, Any]:
    """The defaults of the node TRAINER.<NAME>; those of a plain Dassl trainer come from its file's `extend_cfg`."""
    return getattr(TRAINER_REGISTRY.get(trainer), "defaults" if is_method(trainer) else "own_settings", {})


def declared_setting(key: str) -> Declaration | None:
    """Return the declaration of a method's setting, such as "TRAINER.COOP.N_CTX"; None for other keys."""
    node, _, name = key.rpartition(".")
    method = _by_node(tuple(METHOD_REGISTRY.registered_names())).get(node)
    return declarations(method.Config).get(name) if method else None


@lru_cache
def _by_node(names: tuple[str, ...]) -> dict[str, type[Method]]:
    return {f"TRAINER.{name.upper()}": declared(name) for name in names}


def untrained_methods() -> frozenset[str]:
    """The registered methods that learn nothing."""
    return frozenset(name for name in METHOD_REGISTRY.registered_names() if not declared(name).trainable_parameters)


def why_unsupported(trainer: str, cfg: CfgNode) -> str:
    """Why a method cannot be used with the backbone and the rest of a configuration; "" if it can.

    Plain Dassl trainers declare nothing, so they are never refused.

    Raises:
        InputError: a setting of the method has a value that is not allowed.
    """
    if not is_method(trainer):
        return ""
    return TRAINER_REGISTRY.get(trainer).why_unsupported(BACKBONE_REGISTRY.get(cfg.MODEL.BACKBONE.NAME), cfg)
