"""The peak memory of a process or a GPU."""

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def peak_memory(device: "torch.device") -> dict[str, object] | None:
    """The largest memory that this process had in use since it began, in bytes; None where the system does not say.

    On a GPU the largest memory of tensors (`torch.cuda.max_memory_allocated`), else the largest resident set of the
    process (`resource.getrusage`). A process that carried out other runs before, or beside, counts theirs, too.
    """
    if device.type == "cuda":
        import torch

        return {"peak_bytes": torch.cuda.max_memory_allocated(device), "of": "GPU"}
    try:
        import resource
    except ImportError:  # not on Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return {"peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit, "of": "process"}
