"""Exit 0 if this Python satisfies requirements.txt, else say what is missing and exit 1."""

import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

try:
    from packaging.requirements import Requirement
except ImportError:
    from pip._vendor.packaging.requirements import Requirement

if sys.version_info < (3, 11):  # noqa: UP036 - this file is what finds that out
    sys.exit("Python 3.11 or newer is needed")
for line in (Path(__file__).parent.parent / "requirements.txt").read_text().splitlines():
    text = line.split("#")[0].strip()
    if not text:
        continue
    requirement = Requirement(text)
    try:
        if not requirement.specifier.contains(version(requirement.name), prereleases=True):
            sys.exit(f"{requirement} is needed, {version(requirement.name)} is installed")
    except PackageNotFoundError:
        sys.exit(f"{requirement} is not installed")
