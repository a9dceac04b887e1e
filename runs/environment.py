"""The versions, the hardware and the commit that a result was made with."""

import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

PROJECT = Path(__file__).resolve().parent.parent
PACKAGES = ("torch", "torchvision", "open_clip_torch", "timm", "transformers", "numpy", "scipy", "scikit-learn")


def environment(device: "torch.device") -> dict[str, object]:
    """The facts by name; None where one is not known.

    Args:
        device: the device that the run was on.
    """
    import torch

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(PROJECT), *words], capture_output=True, text=True)
        return done.stdout.strip() if done.returncode == 0 else ""

    return {
        "python": sys.version.split()[0],
        **{name: _installed(name) for name in PACKAGES},
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "git_commit": git("rev-parse", "HEAD") or None,
        "git_changed_files": len(git("status", "--porcelain", "--untracked-files=no").splitlines()),
    }


@cache
def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
