"""The yaml files and the order in which they are laid over each other."""

from configs.build import Choice, admitted_methods, available_datasets, build_cfg

__all__ = ["Choice", "admitted_methods", "available_datasets", "build_cfg"]
