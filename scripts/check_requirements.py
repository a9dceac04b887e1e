"""Compare the installed packages with requirements files: python scripts/check_requirements.py [FILE …]

Exits with 0 if they are satisfied. Otherwise prints what is missing or too old, and exits with 1.
"""

import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

if sys.version_info < (3, 11):  # noqa: UP036 - this script is what finds an old Python
    sys.exit("Python 3.11 or newer is needed, this is %d.%d" % sys.version_info[:2])  # noqa: UP031
try:
    from packaging.requirements import Requirement
except ImportError:
    try:
        from pip._vendor.packaging.requirements import Requirement
    except ImportError:
        sys.exit("packaging is not installed")


def problem(requirement: Requirement) -> str | None:
    """What is wrong with the installed version of a package; None if it satisfies the requirement."""
    try:
        installed = version(requirement.name)
    except PackageNotFoundError:
        return f"{requirement} is not installed"
    if installed and requirement.specifier.contains(installed, prereleases=True):
        return None
    return f"{requirement} is needed, {installed} is installed"


def main(names: list[str]) -> None:
    project = Path(__file__).resolve().parent.parent
    lines = [line.split("#")[0].strip() for name in names for line in (project / name).read_text().splitlines()]
    problems = [found for line in lines if line and (found := problem(Requirement(line)))]
    if problems:
        sys.exit("; ".join(problems))


if __name__ == "__main__":
    main(sys.argv[1:] or ["requirements.txt"])
