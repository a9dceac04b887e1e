"""The declared keys of the configuration, and the check of a whole configuration against them."""

from collections.abc import Mapping
from copy import copy
from typing import Any

from dassl.config.defaults import FRAMEWORK
from dassl.config.schema import Declaration, Settings, declarations, parse
from dassl.errors import InputError, shown

# The groups of settings in each node; "" is the root.
_GROUPS: dict[str, list[type[Settings]]] = {node: [group] for node, group in FRAMEWORK.items()}
_KEYS: dict[str, Declaration] = {}


def declare(node: str, group: type[Settings]) -> None:
    """Declare more keys of a node. `check_settings` checks them; `get_cfg_default` does not return them."""
    _GROUPS.setdefault(node, []).append(group)
    _KEYS.update(_full_keys(node, group))


def declared_keys() -> Mapping[str, Declaration]:
    """Return the declaration of every key by its full name, such as "OPTIM.LR", without the keys of trainers."""
    return _KEYS


def nested_defaults(groups: Mapping[str, type[Settings]] = FRAMEWORK) -> dict[str, Any]:
    """The defaults of groups of settings by node, by default the framework's, as nested dictionaries."""
    nested: dict[str, Any] = {}
    for node, group in groups.items():
        inner = nested
        for part in filter(None, node.split(".")):
            inner = inner.setdefault(part, {})
        inner.update({name: copy(key.default) for name, key in declarations(group).items()})
    return nested


def check_settings(cfg: Mapping[str, Any]) -> None:
    """Check every declared key of a configuration; keys that nobody has declared are left alone.

    Raises:
        InputError: a value of another type, or one that is not allowed, alone or together with others.
    """
    for node, groups in _GROUPS.items():
        inner: Any = cfg
        for part in filter(None, node.split(".")):
            inner = inner.get(part, {})
            if not isinstance(inner, dict):
                raise InputError(f"{node} is {shown(inner)}; it must be a node of settings")
        for group in groups:
            known = declarations(group)
            parse(group, {name: value for name, value in inner.items() if name in known}, node)


def _full_keys(node: str, group: type[Settings]) -> dict[str, Declaration]:
    return {f"{node}.{name}" if node else name: key for name, key in declarations(group).items()}


for _node, _group in FRAMEWORK.items():
    _KEYS.update(_full_keys(_node, _group))
