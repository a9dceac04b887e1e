"""Folders in which cases are carried out, and what must not change beside them."""

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

PRECIOUS = "the user's own words"


class Place:
    """A folder for one case: the code may write `inside` it only.

    The user's file beside it must stay as it is. `canary` is a path that a pickle or an archive tries to write; nothing
    must ever be there. `here`, the current folder during the case, must stay empty.
    """

    def __init__(self, folder: Path):
        self.folder, self.inside, self.canary, self.here = folder, folder / "inside", folder / "canary", folder / "here"
        self.inside.mkdir(parents=True)
        self.here.mkdir()
        (folder / "precious.txt").write_text(PRECIOUS)

    def wrong(self) -> list[str]:
        """What was changed outside of `inside`."""
        expected = {self.folder / "precious.txt", self.inside, self.here}
        strange = [path.name for path in (*self.folder.iterdir(), *self.here.iterdir()) if path not in expected]
        precious = self.folder / "precious.txt"
        kept = precious.is_file() and precious.read_text() == PRECIOUS
        found = [f"wrote outside of its folder: {strange}"] if strange else []
        return found + ([] if kept else ["changed a file of the user"])


class Site:
    """The temporary folder of a whole session: places of cases, and files that they share."""

    def __init__(self, folder: Path):
        self.folder, self.shared = folder, {}
        self.cases = folder / "cases"
        self.cases.mkdir()
        self._count = 0

    def get(self, make: Callable[[Path], Any]) -> Any:
        """What `make` gives for a new folder; made once for all cases."""
        if make not in self.shared:
            folder = self.folder / f"shared-{len(self.shared)}"
            folder.mkdir()
            self.shared[make] = make(folder)
        return self.shared[make]

    @contextlib.contextmanager
    def place(self) -> Iterator[Place]:
        """A new place; it has a new name, since caches remember files by name."""
        self._count += 1
        place, before = Place(self.cases / f"case{self._count}"), os.getcwd()
        os.chdir(place.here)
        try:
            yield place
        finally:
            os.chdir(before)
            shutil.rmtree(place.folder)

    def wrong(self) -> list[str]:
        """Files beside the places, where a path that leaves its folder by more than one step would end."""
        strange = [path.name for path in self.cases.iterdir() if not path.name.startswith("case")]
        strange += [path.name for path in self.folder.iterdir() if not path.name.startswith(("cases", "shared-"))]
        return [f"wrote outside of its folder: {strange}"] if strange else []
