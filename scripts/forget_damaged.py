"""Make pip install damaged packages again: python scripts/forget_damaged.py

An interrupted installation can leave packages with files that are missing or cut off, which count as installed. This
removes the record (`*.dist-info`) of each of them from the environment of the Python that runs it.
"""

import csv
import shutil
import sysconfig
from pathlib import Path


def damaged(record: Path) -> bool:
    """Whether files that a package's RECORD lists are missing or have another size; True without a RECORD."""
    if not record.is_file():
        return True
    with open(record, newline="", encoding="utf-8") as file:
        rows = [row for row in csv.reader(file) if len(row) == 3]
    for name, _, size in rows:
        path = record.parent.parent / name
        if size and not (path.is_file() and path.stat().st_size == int(size)):
            return True
    return not rows


def main() -> None:
    for info in Path(sysconfig.get_path("purelib")).glob("*.dist-info"):
        if damaged(info / "RECORD"):
            print(f"damaged, will be installed again: {info.name.removesuffix('.dist-info')}")
            shutil.rmtree(info)


if __name__ == "__main__":
    main()
