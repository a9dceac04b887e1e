"""Prompt files, templates and class names."""

import json
import shutil

from hypothesis import strategies as st

from tests.fuzz.place import Place, Site
from tests.fuzz.project import OWN, own_copy, run_own, write_text
from tests.fuzz.verdict import ACCEPT, EITHER, REFUSE, Case, Outcome
from tests.fuzz.yamls import VALUES

SENTENCES = [f"sign {word} is seen" for word in ("one", "two", "three", "four")]
GOOD = {"template": "an image of {}.", "classes": {"ill": SENTENCES, "well": SENTENCES[::-1]}}
READERS = ("BiomedDPT", "BiomedCoOp", "ZeroShotEnsemble", "KgCoOp", "ZeroShot")  # methods that read prompts
PAIRS = {"BiomedDPT": 4, "BiomedCoOp": 4, "ZeroShotEnsemble": 4}  # how many sentences they are asked for
LONG = " ".join(["finding"] * 400)


def _template(template: object) -> dict:
    return {**GOOD, "template": template}


def _sentences(sentences: object) -> dict:
    return {**GOOD, "classes": {**GOOD["classes"], "ill": sentences}}


ACCEPTED = [
    GOOD,
    _template("é ü 漢字 of {}"),
    _sentences([*SENTENCES, "a fifth one"]),
    _sentences(["café au lait spots", *SENTENCES]),
    {**GOOD, "classes": {**GOOD["classes"], "more": SENTENCES}},
]
REFUSED = [
    None,
    [],
    5,
    "text",
    {},
    {"template": GOOD["template"]},
    {"classes": GOOD["classes"]},
    _template(None),
    _template(5),
    _template(""),
    _template("no place for the class"),
    _template("{} and no words before the class"),
    _template("{} and {}"),
    _template("{x}"),
    _template("{} of {x}"),
    _template("{0}"),
    _template("{"),
    _template("} {}"),
    _template("{!r}"),
    _template("{:>100}"),
    _template("{} \ud800"),
    _template(["{}"]),
    {**GOOD, "classes": {}},
    {**GOOD, "classes": []},
    {**GOOD, "classes": None},
    {**GOOD, "classes": {"ill": SENTENCES}},
    _sentences([]),
    _sentences(None),
    _sentences("text"),
    _sentences([1, 2, 3, 4]),
    _sentences([*SENTENCES[:3], ""]),
    _sentences([*SENTENCES[:3], "  \n "]),
    _sentences([*SENTENCES[:3], None]),
    _sentences([*SENTENCES[:3], ["a"]]),
    _sentences([*SENTENCES[:3], "\udcff"]),
    _sentences(SENTENCES[:2]),
    _sentences({"a": 1}),
]
TEXTS_REFUSED = ["", "{", "nope", "[" * 100_000, json.dumps(GOOD)[:80], json.dumps(GOOD) + "x", "\x00", "NaN"]
TEMPLATES_ACCEPTED = ["{}", "a photo of a {}.", "{}, seen in an image", "an élan of {}"]
TEMPLATES_REFUSED = ["", "a photo", "{} {}", "{x}", "{0}", "{", "}", "{} {", "{} }", "{!r}", "{} of {x}", "{} \ud800"]
COUNTS = [(4, ACCEPT), (2, ACCEPT), (5, REFUSE), (0, REFUSE), (-1, REFUSE), (10**9, REFUSE)]


def hand() -> list[Case]:
    """What must be accepted and what must be refused."""
    found = [_file(json.dumps(prompts), ACCEPT, method) for method in ("BiomedDPT", "KgCoOp") for prompts in ACCEPTED]
    found += [_file(json.dumps(prompts), REFUSE) for prompts in REFUSED]
    found += [_file(text, REFUSE) for text in TEXTS_REFUSED]
    found += [_template_case(text, ACCEPT) for text in TEMPLATES_ACCEPTED]
    found += [_template_case(text, REFUSE) for text in TEMPLATES_REFUSED]
    for method in ("BiomedDPT", "ZeroShotEnsemble"):
        key = f"TRAINER.{method.upper()}.N_PROMPTS"
        found += [_file(json.dumps(GOOD), must, method, [key, str(count)], [key]) for count, must in COUNTS]
    found += [_file(json.dumps(prompts), EITHER) for prompts in (_template("{} " + LONG), _sentences([LONG] * 4))]
    return [
        *found,
        *(_file("", REFUSE, path=path) for path in ("nope.json", "nope", "..", "/dev/null", "/", "a" * 300)),
    ]


def _file(text, must, trainer="BiomedDPT", pairs=(), names=(), path="mine.json") -> Case:
    pairs = list(pairs)
    if not pairs and trainer in PAIRS:
        pairs = [f"TRAINER.{trainer.upper()}.N_PROMPTS", str(PAIRS[trainer])]
    what = {"text": text, "encoding": "utf-8", "trainer": trainer, "pairs": pairs, "path": path}
    return Case("prompts", what, must, tuple(names))


def _template_case(template: str, must: str) -> Case:
    return _file(json.dumps(GOOD), must, "KgCoOp", ["TRAINER.KGCOOP.TEMPLATE", template], ["TEMPLATE"])


@st.composite
def cases(draw) -> Case:
    """Any template, any sentences, any JSON in place of a part, or a good file that was damaged."""
    how, trainer = draw(st.sampled_from(["template", "sentences", "values", "damaged"])), draw(st.sampled_from(READERS))
    if how == "template":
        text = draw(
            st.lists(st.sampled_from(["{}", "{", "}", "{x}", "a", " ", "é", "{:", "!"]), max_size=5).map("".join)
        )
        plain = text.replace("{}", "", 1)
        must = REFUSE if "{" in plain or "}" in plain or "{}" not in text else EITHER
        return _file(json.dumps(_template(text)), must, "BiomedDPT")
    if how == "sentences":
        texts = draw(st.lists(st.text(max_size=30), min_size=1, max_size=6))
        return _file(json.dumps(_sentences(texts)), EITHER, trainer)
    if how == "values":
        key = draw(st.sampled_from(["template", "classes", "ill"]))
        value = draw(VALUES)
        return _file(json.dumps(_sentences(value) if key == "ill" else {**GOOD, key: value}), EITHER, trainer)
    text = json.dumps(GOOD)
    at, length = draw(st.integers(0, len(text))), draw(st.integers(0, 20))
    return _file(text[:at] + draw(st.text(max_size=5)) + text[at + length :], EITHER, trainer)


def carry_out(case: Case, place: Place, site: Site) -> Outcome:
    """Build a run of a method on the data set with the prompts; the file stands beside the yaml file."""
    root, path = own_copy(site, place), case.what["path"]
    (root / "own.yaml").write_text(f"{OWN}DATASET.PROMPTS: {path}\n")
    if path == "mine.json":
        write_text(root / path, case)
    outcome = run_own(case, root, place, *case.what["pairs"], trainer=case.what["trainer"])
    shutil.rmtree(root)
    return outcome


def names(case: Case) -> list[str]:
    """What an error message may call the input: the file, or the setting that does not fit it."""
    return [case.what["path"], "PROMPTS", "TEMPLATE"]
