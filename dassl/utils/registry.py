"""Registries: tables of classes by name, for trainers, data sets, evaluators and backbones."""

from typing import Any

from dassl.errors import unknown_name


class Registry:
    """A table of objects by name. `register` is a decorator, or is called with the object."""

    def __init__(self, name: str):
        self._name = name
        self._objects: dict[str, Any] = {}

    def register(self, obj: Any = None, force: bool = False, name: str = "") -> Any:
        """Add an object under a name, by default its `__name__`; a registered name raises KeyError unless `force`."""
        if obj is None:
            return lambda wrapped: self.register(wrapped, force, name)
        name = name or obj.__name__
        if name in self._objects and not force:
            raise KeyError(f"a {self._name} named '{name}' is registered already")
        self._objects[name] = obj
        return obj

    def get(self, name: str) -> Any:
        """Return the object with a name; an unknown name raises an InputError that lists the available names."""
        if name not in self._objects:
            raise unknown_name(self._name, name, self._objects)
        return self._objects[name]

    def registered_names(self) -> list[str]:
        return list(self._objects)

    def __contains__(self, name: str) -> bool:
        return name in self._objects
