"""The settings of a method, as in `dassl.config.schema`; methods import their declarations from here."""

from dassl.config.schema import Settings, inherited, setting

__all__ = ["Settings", "inherited", "setting"]
