"""Carries out cases of all kinds, in a temporary folder that is removed at the end."""

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, replace
from importlib import import_module
from pathlib import Path
from unittest import mock

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.configuration import set_hypothesis_home_dir

from tests.fuzz.place import Site
from tests.fuzz.result_folders import trained
from tests.fuzz.verdict import Case, Verdict, judge

KINDS = ("settings", "yamls", "splits", "prompts", "results", "images", "checkpoints", "archives")
# Examples are drawn, not stored, and not reduced: a failing case is kept as it is, as a file to replay.
QUIET = settings(
    database=None, deadline=None, phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck)
)


@contextlib.contextmanager
def temporary_site() -> Iterator[Site]:
    """A folder for everything that the cases write, derived files and hypothesis' own included."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        cache = Path(folder) / "shared-cache"
        set_hypothesis_home_dir(Path(folder) / "shared-hypothesis")
        with mock.patch.dict(os.environ, {"BIOMED_DPT_CACHE": str(cache), "HF_HUB_OFFLINE": "1"}):
            site = Site(Path(folder))
            site.get(trained)  # loads all libraries, which takes seconds, before the first case
            yield site


def module(kind: str):
    """The module of a kind: `hand`, `cases`, `carry_out` and `names`."""
    return import_module(f"tests.fuzz.{kind}")


def try_case(case: Case, site: Site) -> Verdict:
    """Carry a case out and judge it."""
    of_kind = module(case.kind)
    with site.place() as place:
        outcome = of_kind.carry_out(case, place, site)
        named = case if case.names else replace(case, names=tuple(of_kind.names(case)))
        return judge(named, outcome, place.wrong() + site.wrong())


def generated(kind: str, count: int, number: int) -> list[Case]:
    """Some cases of a kind, drawn with a seed."""
    found: list[Case] = []
    if count < 1:
        return found

    @seed(number)
    @settings(QUIET, max_examples=count)
    @given(module(kind).cases())
    def collect(case: Case) -> None:
        found.append(case)

    collect()
    return found


def to_text(case: Case) -> str:
    """A case as one line of JSON."""
    return json.dumps(asdict(case))


def from_text(line: str) -> Case:
    """The case that `to_text` wrote."""
    words = json.loads(line)
    return Case(words["kind"], words["what"], words["must"], tuple(words["names"]))
