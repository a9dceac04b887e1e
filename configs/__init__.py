"""The yaml files and the order in which they override each other; names are loaded on first use, as torch is slow."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from configs.names import backbone_names, dataset_names, is_path, method_names, paper_datasets

if TYPE_CHECKING:
    from configs.build import Choice, admitted_methods, build_cfg
    from configs.declared import untrained_methods
    from configs.keys import read_keys, unread

__all__ = [
    "Choice",
    "admitted_methods",
    "backbone_names",
    "build_cfg",
    "dataset_names",
    "is_path",
    "method_names",
    "paper_datasets",
    "read_keys",
    "unread",
    "untrained_methods",
]
_MODULES = {
    "Choice": "build",
    "admitted_methods": "build",
    "build_cfg": "build",
    "read_keys": "keys",
    "unread": "keys",
    "untrained_methods": "declared",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'configs' has no attribute '{name}'")
    return getattr(import_module(f"configs.{_MODULES[name]}"), name)
