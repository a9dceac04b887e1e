"""Typed settings: one declaration of a key holds its type, default, allowed values and help."""

import ast
import dataclasses
import math
import os
from collections.abc import Callable, Collection, Mapping
from copy import copy
from dataclasses import dataclass
from typing import Any, TypeVar, dataclass_transform, get_args, get_origin, get_type_hints

from dassl.errors import InputError, shown, unknown_name

_RULES = "rules"
LARGEST = 2**31 - 1  # of an integer without an upper bound of its own
ConfigT = TypeVar("ConfigT", bound="Settings")
_DECLARATIONS: dict[Any, dict[str, "Declaration"]] = {}  # of each group of settings; made at first use


@dataclass(frozen=True)
class Rules:
    """What a setting means and which values it may have. The rules hold for every element of a list.

    Attributes:
        help: one line for the list of settings.
        choices: the allowed words, or a function that returns them; empty where any value of the type is allowed.
        at_least, above, at_most, below: bounds of a number; None for no bound. Numbers are always finite.
        also: values that are allowed beyond these bounds.
        length: the number of elements of a list; None for any.
        not_empty: a list has at least one element.
        check: what is wrong with a value in other ways, as the end of "KEY is VALUE; it must …"; "" if nothing is.
        is_path: a text that names a file or folder, which may hold bytes that are no UTF-8.
    """

    help: str
    choices: Collection[str] | Callable[[], Collection[str]] = ()
    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    below: float | None = None
    also: tuple[float, ...] = ()
    length: int | None = None
    not_empty: bool = False
    check: Callable[[Any], str] | None = None
    is_path: bool = False

    def words(self) -> Collection[str]:
        """The allowed words; empty where there is no such rule."""
        return self.choices() if callable(self.choices) else self.choices

    def allowed(self) -> str:
        """The allowed values in words; "" where there is no rule."""
        if words := self.words():
            return ", ".join(words)
        bounds = {">=": self.at_least, ">": self.above, "<=": self.at_most, "<": self.below}
        found = [f"{sign} {bound:.10g}" for sign, bound in bounds.items() if bound is not None]
        parts = [*(f"{value:g}" for value in self.also), ", ".join(found)] if found else []
        size = [f"{self.length} values"] if self.length else ["at least one value"] if self.not_empty else []
        return ", each ".join([*size, *([" or ".join(parts)] if parts else [])])

    def problem(self, value: Any) -> str:
        """Return what a value must be, to complete "KEY is VALUE; it must …"; "" if the value is allowed."""
        return self._problem(value) or (self.check(value) if self.check else "")

    def _problem(self, value: Any) -> str:
        if isinstance(value, list | tuple):
            if self.length is not None and len(value) != self.length:
                return f"have {self.length} values, not {len(value)}"
            if self.not_empty and not value:
                return "have at least one value"
            return next((f"hold values that each {found}" for found in map(self._problem, value) if found), "")
        if isinstance(value, str):
            return self._problem_of_text(value)
        if isinstance(value, bool) or value in self.also:
            return ""
        if not math.isfinite(value):
            return "be a finite number"
        if not self._within_bounds(value):
            return f"be {self.allowed()}"
        too_large = isinstance(value, int) and self.at_most is None and abs(value) > LARGEST
        return f"be at most {LARGEST}" if too_large else ""

    def _within_bounds(self, value: float) -> bool:
        return (
            (self.at_least is None or value >= self.at_least)
            and (self.above is None or value > self.above)
            and (self.at_most is None or value <= self.at_most)
            and (self.below is None or value < self.below)
        )

    def _problem_of_text(self, value: str) -> str:
        if "\0" in value:
            return "hold no character of code 0"
        if self.is_path and value.startswith("~") and os.path.expanduser(value) == value:
            return "not begin with '~' and the name of an unknown user"
        if not self.is_path and any("\ud800" <= letter <= "\udfff" for letter in value):
            return "be a text in UTF-8"
        words = self.words()
        return f"be one of {', '.join(words)}" if words and value not in words else ""


def setting(default: Any, help: str, **rules: Any) -> Any:
    """Declare a setting as a field of a `Settings` class; the other arguments are those of `Rules`."""
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
    """Base of every group of settings: its subclasses are dataclasses, without a decorator."""

    def __init_subclass__(cls, **words: Any):
        super().__init_subclass__(**words)
        dataclass(cls)

    def problem(self) -> str:
        """What is wrong with several settings together, or with one beyond its rules: "KEY …"; "" if nothing is."""
        return ""


@dataclass(frozen=True)
class Declaration:
    """The type, default and rules of one key."""

    kind: Any
    default: Any
    rules: Rules

    def parse(self, value: Any, key: str) -> Any:
        """A value as the type of the setting, checked.

        Args:
            value: an integer is accepted for a float, a tuple for a list, and the other way round.
            key: the full key, for error messages.

        Raises:
            InputError: another type, or a value that is not allowed.
        """
        parsed = _converted(value, self.kind, key)
        if problem := self.rules.problem(parsed):
            words = self.rules.words()
            if words and isinstance(parsed, str):
                raise unknown_name(f"choice ({key})", parsed, words)
            raise InputError(f"{key} is {shown(value)}; it must {problem}")
        return parsed

    def decoded(self, text: str) -> Any:
        """The value that a text on the command line, or in a yaml file, stands for: a literal of Python, or itself."""
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return text
        return value if self.kind is not str or isinstance(value, str) or value is None else text


def declarations(config: type[Settings]) -> dict[str, Declaration]:
    """The declaration of every setting of a group, by name."""
    if config not in _DECLARATIONS:
        types, defaults = get_type_hints(config), defaults_of(config)
        rules = {field.name: field.metadata[_RULES] for field in dataclasses.fields(config)}
        _DECLARATIONS[config] = {key: Declaration(types[key], value, rules[key]) for key, value in defaults.items()}
    return _DECLARATIONS[config]


def defaults_of(config: type[Settings]) -> dict[str, Any]:
    """The default of every setting, by name."""
    return dataclasses.asdict(config())


def parse(config: type[ConfigT], values: Mapping[str, Any], where: str) -> ConfigT:
    """Settings from a mapping of names to values; settings that it does not name keep their defaults.

    Args:
        config: the group of settings, such as those of a method.
        values: an integer is accepted for a float, a tuple for a list.
        where: the node that holds them, such as "TRAINER.COOP"; "" for the root.

    Raises:
        InputError: an unknown name, a wrong type, or a value that the setting does not allow.
    """
    known, prefix = declarations(config), where and f"{where}."
    for name in values:
        if name not in known:
            raise unknown_name(f"setting of {where}", name, known)
    settings = config(**{name: known[name].parse(value, f"{prefix}{name}") for name, value in values.items()})
    if problem := settings.problem():
        raise InputError(f"{prefix}{problem}")
    return settings


def describe(keys: Mapping[str, Declaration]) -> list[tuple[str, str, str, str, str]]:
    """Name, type, default, allowed values and help of every key."""
    return [
        (name, type_name(key.kind), repr(key.default), key.rules.allowed(), key.rules.help)
        for name, key in keys.items()
    ]


def type_name(kind: Any) -> str:
    """A type in words, such as "list of int"."""
    return f"list of {get_args(kind)[0].__name__}" if get_origin(kind) else kind.__name__


def _converted(value: Any, kind: Any, key: str) -> Any:
    """A value as the type of its setting; an InputError where it is of another type."""
    container = get_origin(kind)
    if container and isinstance(value, list | tuple):
        return container(_converted(element, get_args(kind)[0], key) for element in value)
    if kind is float and type(value) is int and abs(value) <= LARGEST:
        return float(value)
    if value is None:
        raise InputError(f"{key} has no value; it must be of type {type_name(kind)}")
    if type(value) is not kind:
        raise InputError(f"{key} is {shown(value)}; it must be of type {type_name(kind)}")
    return value
