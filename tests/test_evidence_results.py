"""results.json of a measurement is checked where it is read."""

import json

import pytest

from dassl.errors import InputError
from evidence.results import FILE, read_results
from tests.evidence_results import MAPS, make_results


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The content of a file with one map and one text, with its folder."""
    folder, results = tmp_path_factory.mktemp("written"), make_results(maps=MAPS[:1], texts=("template",))
    results.pictures = {0: "a1"}
    results.write(folder)
    return folder, json.loads((folder / FILE).read_text())


def test_what_was_written_is_read(written, tmp_path):
    results = make_results()
    results.pictures = {3: "a1"}
    results.write(tmp_path)
    assert read_results(tmp_path) == results


MASS = ("measures", "replace", "attention", "kept", "mass")
OUTCOME = ("outcomes", "replace")


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("version",), 2), (("classnames", 0), 1), (("classnames",), []), (("grid",), [4]), (("grid", 0), 1e999),
        (("conditions", 0, "name"), "other"), (("conditions", 1, "name"), "none"), (("conditions", 1, "about"), None),
        (("maps",), []), (("maps",), [{"explainer": "attention", "target": "", "text": ""}] * 2),
        (("maps", 0, "explainer"), ["attention"]), (("images", 0, "label"), 2), (("images", 0, "label"), 1e999),
        (("images", 0, "area"), 10**400), (("images", 0, "area"), float("nan")), (("images",), []), (MASS, [0.5]),
        (MASS, {}), ((*MASS, 0), "0.5"), ((*MASS, 0), float("nan")), ((*MASS, 0), True), (MASS[:3], {}),
        (("measures", "none"), {}), (("curves", "replace", "attention"), {}),
        (("curves", "replace", "attention", "insertion"), [0.1]), (("heads", "replace", 0), [1.0]),
        (("reference_heads", "replace", 0), [1.0]), (("reference_heads",), {}),
        (("heads", "replace"), 3), ((*OUTCOME, "predicted"), {}), ((*OUTCOME, "probability", "template"), [0.5]),
        ((*OUTCOME, "few_shot"), 60.0), ((*OUTCOME, "few_shot", 0), "60"), ((*OUTCOME, "more"), 1),
        (("pictures", "0"), "../a"), (("pictures", "0"), "a/b"), (("pictures", "0"), None), (("pictures", "99"), "a"),
        (("pictures", "x"), "a"),
    ],
)  # fmt: skip
def test_damage_is_refused(written, place, value, tmp_path):
    _, content = written
    content = json.loads(json.dumps(content))
    inner = content
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    (tmp_path / FILE).write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"results\.json' cannot be used"):
        read_results(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "null", "{}", '{"version": 1}', "[" * 100_000, "\xff"])
def test_other_files_are_refused(text, tmp_path):
    (tmp_path / FILE).write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=r"results\.json' cannot be used"):
        read_results(tmp_path)
