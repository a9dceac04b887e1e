"""What the registered methods declare about themselves."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from yacs.config import CfgNode

from clip import BACKBONE_REGISTRY
from dassl.engine import TRAINER_REGISTRY


class Declared(NamedTuple):
    """The declarations of a method that configurations depend on.

    Attributes:
        defaults: the settings, the node TRAINER.<NAME> of the configuration.
        trainable_parameters: 0 for a method that learns nothing.
        closed_form: the method takes no training steps.
        reads: keys outside the method's own node that this method reads and others need not.
    """

    defaults: Mapping[str, Any]
    trainable_parameters: int
    closed_form: bool
    reads: tuple[str, ...]


# Until the classes declare `reads` themselves.
_READS = {
    "CLIPLoRA": ("OPTIM.LR", "OPTIM.WEIGHT_DECAY", "OPTIM.ADAM_BETA1", "OPTIM.ADAM_BETA2"),
    "TipAdapterF": ("OPTIM.LR",),
}


def is_method(trainer: str) -> bool:
    """Whether a trainer is a method with declared settings; anything else is a plain Dassl trainer."""
    cls = TRAINER_REGISTRY.get(trainer)
    return hasattr(cls, "trainable_parameters") or hasattr(cls, "numbers")


def default_settings(trainer: str) -> Mapping[str, Any]:
    """The defaults of the node TRAINER.<NAME>; a plain Dassl trainer may have them too."""
    return getattr(TRAINER_REGISTRY.get(trainer), "defaults", {})


def declared(trainer: str) -> Declared:
    """What a method declares."""
    cls: Any = TRAINER_REGISTRY.get(trainer)
    return Declared(
        default_settings(trainer),
        getattr(cls, "trainable_parameters", 0) or getattr(cls, "numbers", 0),
        getattr(cls, "closed_form", hasattr(cls, "fit")),
        getattr(cls, "reads", _READS.get(trainer, ())),
    )


def untrained_methods() -> frozenset[str]:
    """The registered methods that learn nothing."""
    names = TRAINER_REGISTRY.registered_names()
    return frozenset(name for name in names if is_method(name) and not declared(name).trainable_parameters)


def why_unsupported(trainer: str, cfg: CfgNode) -> str:
    """Why a method cannot be used with the backbone and the rest of a configuration; "" if it can.

    Plain Dassl trainers declare nothing, so they are never refused.
    """
    backbone = BACKBONE_REGISTRY.get(cfg.MODEL.BACKBONE.NAME)
    cls: Any = TRAINER_REGISTRY.get(trainer)
    check = getattr(cls, "why_unsupported", None) or getattr(cls, "refusal", None)
    return check(backbone, cfg) if check and is_method(trainer) else ""
