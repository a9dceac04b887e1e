"""Result folders with a damaged file among good ones, read by the report, the tables, the sweep and train.py."""

import json

from hypothesis import strategies as st

from tests.fuzz.place import Place, Site
from tests.fuzz.result_folders import changed, read_tree, train_again
from tests.fuzz.verdict import ACCEPT, EITHER, REFUSE, Case, Outcome
from tests.fuzz.yamls import VALUES

METRICS = {"total": 80, "correct": 49, "accuracy": 61.25, "macro_f1": 60.5, "auroc": 75.5, "ece": 5.5}
OF_CLASSES = {
    "auroc_interval": [70.5, 80.5], "brier": 0.5, "sensitivity": {"normal scan": 61.25, "mass": None},
    "specificity": {"normal scan": None, "mass": 99.5}, "confusion_matrix": [[49, 31], [0, 0]],
}  # fmt: skip
RESULTS = {
    "protocol": "few_shot", "dataset": "busi", "backbone": "Tiny", "method": "CoOp", "shots": 16, "seed": 3,
    "variant": "clean", "metrics": {"all": {**METRICS, **OF_CLASSES}},
    "trainable_parameters": 512, "settings_digest": "0123456789abcdef",
    "split": {"origin": "official", "digest": "0123456789ab"},
    "prompts": {"file": "busi.json", "digest": "0123456789ab"},
    "loss_per_epoch": [1.5, 1.25], "seconds": {"build": 1.5, "train_and_test": 2.5, "runs_in_stack": 1},
    "environment": {"python": "3.11", "torch": "2.9.1", "device": "cpu", "git_commit": "0123", "git_changed_files": 0},
}  # fmt: skip
Change = tuple[tuple[str, ...], object]  # where in the results, and the new value
ACCURACY = ("metrics", "all", "accuracy")
# Texts that must not come out as they are, and where a results file has texts.
EVIL = (
    "=EVIL()",
    "<script>EVIL</script>",
    "\\input{EVIL}",
    "\x1b[31mEVIL",
    "+EVIL",
    "@EVIL|EVIL",
    "x/../../../../EVIL",
)
PLACES_OF_TEXT = [("variant",), ("environment", "device"), ("environment", "git_commit"), ("environment", "torch")]
PLACES_OF_TEXT += [("imported",), ("split", "origin"), ("prompts", "file"), ("environment", EVIL[1])]
HARMLESS: list[Change] = [
    (ACCURACY, 0),
    (ACCURACY, 100),
    (("metrics", "all", "auroc"), None),
    (("note",), [1, 2]),
    (("environment", "device"), "Some GPU"),
]
HARMFUL: list[Change] = [
    *((ACCURACY, value) for value in (None, 150, -1, "61", "nan", True, [61], {}, 1e999, float("nan"), 10**400)),
    *((("metrics",), value) for value in (None, [], {}, 5, "all", {"all": None}, {"all": []}, {"base": METRICS})),
    (("metrics", "all", "macro_f1"), "high"),
    (("metrics", "all", "ece"), -5),
    (("metrics", "all", "brier"), 2.5),
    (("metrics", "all", "auroc_interval"), [80.0, 70.0]),
    (("metrics", "all", "confusion_matrix"), [[1, 2]]),
    (("metrics", "all", "specificity"), [99.5]),
    (("method",), "BiomedDPT"),
    (("method",), None),
    (("method",), ["CoOp"]),
    (("seed",), 4),
    (("seed",), "3"),
    (("dataset",), "../../x"),
    (("backbone",), {}),
    (("protocol",), "nope"),
    (("shots",), 8),
    (("shots",), "many"),
    (("variant",), 5),
    (("variant",), ["clean"]),
    (("variant",), "x/../../../../TRAVERSED"),
    (("variant",), "../TRAVERSED"),
    (("variant",), "a\nb"),
    (("variant",), EVIL[0]),
    (("trainable_parameters",), "512"),
    (("trainable_parameters",), 1.5),
    (("trainable_parameters",), -1),
    (("seconds",), 5),
    (("seconds", "train_and_test"), "long"),
    (("seconds", "train_and_test"), float("nan")),
    (("seconds", "train_and_test"), -1),
    (("seconds", "runs_in_stack"), 0),
    (("environment",), "cpu"),
]
TEXTS = [
    "",
    "[]",
    "null",
    "5",
    '"text"',
    "{",
    "\x00",
    "[" * 100_000,
    '{"a":' * 50_000,
    json.dumps(RESULTS)[:200],
    "<html>",
]
PROGRAMS = ["report", "table"]
CONFIGS_REFUSED = ["[]", "5", "text", "a: &a [*a]", "OPTIM: {LR: [", "\x00", "OPTIM:\n  MAX_EPOCH: 7\n"]


def hand() -> list[Case]:
    """Every damage, read by one of the programs in turn; the same for a run that train.py meets in its own folder."""
    found = [_tree(PROGRAMS[n % 2], _results(change), False) for n, change in enumerate(HARMLESS)]
    found += [_tree(PROGRAMS[n % 2], _results(change), True) for n, change in enumerate(HARMFUL)]
    found += [_tree(PROGRAMS[n % 2], text, True) for n, text in enumerate(TEXTS)]
    found += [_tree("page", text, True) for text in (TEXTS[0], _results(HARMFUL[3]))]
    found += [_tree(program, json.dumps(RESULTS), True, "utf-16") for program in PROGRAMS]
    found += [_tree("report", _results((where, text)), None) for where in PLACES_OF_TEXT for text in EVIL]
    found += [_tree("page", _results((where, EVIL[1])), None) for where in PLACES_OF_TEXT]
    found += [_tree("report", json.dumps({**RESULTS, "method": text}), None, method=text) for text in EVIL]
    found += [_own("results.json", text, REFUSE) for text in TEXTS]
    found += [_own("results.json", {"/".join(where): value}, REFUSE) for where, value in HARMFUL[:12]]
    found += [_own("config.yaml", text, REFUSE) for text in CONFIGS_REFUSED]
    found += [_own("results.json", text, ACCEPT, "dry run") for text in TEXTS]
    return [*found, _own("COMPLETE", "anything", ACCEPT), _own("log.txt", "\x00", ACCEPT)]


def _results(change: Change) -> str:
    where, value = change
    value = {"from": value} if where == ("imported",) else value
    return json.dumps(changed(RESULTS, where, value))


def _tree(program: str, text: str, damaged: bool | None, encoding: str = "utf-8", method: str = "CoOp") -> Case:
    what = {"program": program, "text": text, "encoding": encoding, "damaged": damaged, "method": method}
    return Case("results", what, ACCEPT)


def _own(file: str, content: object, must: str, program: str = "train") -> Case:
    """A run of its own; `content` is a text, or values by their place in results.json."""
    return Case("results", {"program": program, "file": file, "text": content, "encoding": "utf-8"}, must)


@st.composite
def cases(draw) -> Case:
    """A known damage, any value in any place, a damaged text, or a text that must not come out as it is."""
    how, program = draw(st.sampled_from(["known", "values", "text", "evil"])), draw(st.sampled_from(PROGRAMS))
    places = [(key,) for key in RESULTS] + [
        ACCURACY,
        ("seconds", "build"),
        ("environment", "device"),
        ("split", "origin"),
    ]
    if how == "known":
        return _tree(program, _results(draw(st.sampled_from(HARMFUL))), True)
    if how == "values":
        return _tree(program, _results((draw(st.sampled_from(places)), draw(VALUES))), None)
    if how == "evil":
        return _tree("report", _results((draw(st.sampled_from(PLACES_OF_TEXT)), draw(st.sampled_from(EVIL)))), None)
    text = json.dumps(RESULTS)
    at, length = draw(st.integers(0, len(text))), draw(st.integers(0, 20))
    text = text[:at] + draw(st.text(max_size=5)) + text[at + length :]
    return _own("results.json", text, EITHER) if draw(st.booleans()) else _tree(program, text, None)


def carry_out(case: Case, place: Place, site: Site) -> Outcome:
    """Write the folders and let a program read them."""
    if "file" in case.what:
        return train_again(case, place, site)
    return read_tree(case, place, RESULTS)


def names(case: Case) -> list[str]:
    """What an error message may call the input: its file or its folder."""
    return [case.what.get("file", "results.json"), "results.json", "1shots/seed1"]
