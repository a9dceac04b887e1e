"""Small tools under upstream's names. Those that need torch are imported on first use."""

from importlib import import_module
from typing import Any

from dassl.utils.logger import *  # noqa: F403
from dassl.utils.registry import Registry  # noqa: F401
from dassl.utils.tools import *  # noqa: F403


def __getattr__(name: str) -> Any:
    # Programs that only read results start several seconds faster without torch.
    if not name.startswith("_"):
        for module in ("meters", "torchtools"):
            found = import_module(f"dassl.utils.{module}")
            if name in found.__all__:
                return getattr(found, name)
    raise AttributeError(f"module 'dassl.utils' has no attribute '{name}'")
