"""Registers methods, and the Dassl trainers that train them."""

from dassl.config.schema import defaults_of
from dassl.engine import TRAINER_REGISTRY
from dassl.utils import Registry
from trainers.method import Method
from trainers.tuner import Tuner

METHOD_REGISTRY = Registry("method")


def register_method(method: type[Method]) -> type[Method]:
    """Register a method in METHOD_REGISTRY, and a Dassl trainer of the same name in TRAINER_REGISTRY; a decorator.

    Raises:
        TypeError: the class lacks a docstring or an entry of the table of methods.
    """
    missing = [name for name in ("__doc__", "learns", "source", "verified_against") if not getattr(method, name)]
    if method.learns != "nothing" and not method.trainable_parameters:
        missing.append("trainable_parameters")
    if missing:
        raise TypeError(f"method {method.__name__} must declare {', '.join(missing)}")
    METHOD_REGISTRY.register(method)
    body = {
        "method_class": method,
        "defaults": defaults_of(method.Config),
        "__doc__": method.__doc__,
        "__module__": method.__module__,
    }
    TRAINER_REGISTRY.register(type(method.__name__, (Tuner,), body))
    return method
