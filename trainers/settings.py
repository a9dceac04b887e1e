"""Typed settings of a method: one declaration holds type, default, allowed values and help."""

import dataclasses
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass
from typing import Any, TypeVar, dataclass_transform, get_args, get_origin, get_type_hints

from dassl.errors import InputError, unknown_name

_RULES = "rules"
ConfigT = TypeVar("ConfigT", bound="Settings")


@dataclass(frozen=True)
class Rules:
    """What a setting means and which values it may have.

    Attributes:
        help: one line for the list of settings.
        choices: the allowed words; empty where any value of the type is allowed.
        at_least, above, at_most: bounds of a number; None for no bound.
    """

    help: str
    choices: tuple[str, ...] = ()
    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None

    def allowed(self) -> str:
        """The allowed values in words; "" where there is no rule."""
        if self.choices:
            return ", ".join(self.choices)
        bounds = {">=": self.at_least, ">": self.above, "<=": self.at_most}
        return ", ".join(f"{sign} {bound:g}" for sign, bound in bounds.items() if bound is not None)

    def admits(self, value: Any) -> bool:
        """Whether a value of the right type keeps the rules; in a list, whether every element does."""
        if isinstance(value, list):
            return all(self.admits(element) for element in value)
        if self.choices:
            return value in self.choices
        return (
            (self.at_least is None or value >= self.at_least)
            and (self.above is None or value > self.above)
            and (self.at_most is None or value <= self.at_most)
        )


def setting(default: Any, help: str, **rules: Any) -> Any:
    """Declare a setting as a field of a `Config` dataclass; the other arguments are those of `Rules`."""
    metadata = {_RULES: Rules(help, **rules)}
    if isinstance(default, list):
        return dataclasses.field(default_factory=lambda: copy(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def inherited(config: type["Settings"], name: str, default: Any) -> Any:
    """Declare the setting `name` of a parent's `Config` again, with another default."""
    (parent,) = (field for field in dataclasses.fields(config) if field.name == name)
    return dataclasses.field(default=default, metadata=parent.metadata)


@dataclass_transform(field_specifiers=(setting, inherited))
@dataclass
class Settings:
    """Base of every `Config`: its subclasses are dataclasses, without a decorator."""

    def __init_subclass__(cls, **words: Any):
        super().__init_subclass__(**words)
        dataclass(cls)


def defaults_of(config: type[Settings]) -> dict[str, Any]:
    """The default of every setting, by name."""
    return dataclasses.asdict(config())


def parse(config: type[ConfigT], values: Mapping[str, Any], where: str) -> ConfigT:
    """Settings from a mapping of names to values; settings that it does not name keep their defaults.

    Args:
        config: the settings of a method.
        values: an integer is accepted for a float, a tuple for a list.
        where: where the values come from, for error messages, such as "TRAINER.COOP".

    Raises:
        InputError: an unknown name, a wrong type, or a value that the setting does not allow.
    """
    types, rules = get_type_hints(config), _rules_of(config)
    parsed = {}
    for name, value in values.items():
        if name not in rules:
            raise unknown_name(f"setting of {where}", name, rules)
        parsed[name] = _converted(value, types[name], f"{where}.{name}")
        if rules[name].choices and not rules[name].admits(parsed[name]):
            raise unknown_name(f"choice ({where}.{name})", value, rules[name].choices)
        if not rules[name].admits(parsed[name]):
            raise InputError(f"{where}.{name} is {value!r}; it must be {rules[name].allowed()}")
    return config(**parsed)


def describe(config: type[Settings]) -> list[tuple[str, str, str, str, str]]:
    """Name, type, default, allowed values and help of every setting."""
    types, rules = get_type_hints(config), _rules_of(config)
    return [
        (name, _type_name(types[name]), repr(default), rules[name].allowed(), rules[name].help)
        for name, default in defaults_of(config).items()
    ]


def _rules_of(config: type[Settings]) -> dict[str, Rules]:
    return {field.name: field.metadata[_RULES] for field in dataclasses.fields(config)}


def _type_name(kind: Any) -> str:
    return f"list of {get_args(kind)[0].__name__}" if get_origin(kind) is list else kind.__name__


def _converted(value: Any, kind: Any, where: str) -> Any:
    """A value as the type of its setting; an InputError where it is of another type."""
    if get_origin(kind) is list and isinstance(value, list | tuple):
        return [_converted(element, get_args(kind)[0], where) for element in value]
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not kind:
        raise InputError(f"{where} is {value!r}; it must be of type {_type_name(kind)}")
    return value
