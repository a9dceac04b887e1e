"""Settings: the arguments of train.py and KEY VALUE pairs, up to the configuration; some are carried out as runs."""

import ast
import shlex

import yaml
from hypothesis import strategies as st

from dassl.errors import exit_code
from runs.arguments import configuration, parse_args
from tests.fuzz import oracle
from tests.fuzz.lines import ACCEPTED, REFUSED
from tests.fuzz.place import Place, Site
from tests.fuzz.project import CHEAP, finite_results, phantom_root, run_train
from tests.fuzz.verdict import ACCEPT, EITHER, REFUSE, Case, Outcome, call

BUILT = ("100000", "1000", "/nonexistent", "~nouser/x", "TRAINER.KGCOOP.TEMPLATE")  # read when the run is built
OVERRIDDEN = {"DATASET.NUM_SHOTS", "OPTIM.MAX_EPOCH", "DATALOADER.NUM_WORKERS", "TRAIN.PRINT_FREQ"}  # cheaper in runs


def hand() -> list[Case]:
    """What must be accepted and what must be refused."""
    lines = [(line, must) for text, must in ((ACCEPTED, ACCEPT), (REFUSED, REFUSE)) for line in text.split("\n")]
    return [_case(shlex.split(line), must) for line, must in lines if line]


def _case(words: list[str], must: str) -> Case:
    """A line of the lists: the method, options with their values, then pairs."""
    start = 1
    while start < len(words) and words[start].startswith("--"):
        start += 1 if words[start] in ("--published", "--accept-unread") else 2
    then = "build" if set(BUILT) & set(words) else "configure"
    return Case("settings", {"options": words[:start], "pairs": words[start:], "then": then}, must)


@st.composite
def cases(draw) -> Case:
    """One to three settings of a method, each with a value that is right, wrong, or arbitrary."""
    method, known = _method(draw, list(oracle.METHODS))
    keys = draw(st.lists(st.sampled_from(list(known)), min_size=1, max_size=3, unique=True))
    pairs, musts = [], []
    for key in keys:
        must = draw(st.sampled_from([ACCEPT, ACCEPT, ACCEPT, REFUSE, EITHER]))
        arbitrary = st.text(max_size=20) | st.floats().map(repr) | st.integers().map(str)
        values = {ACCEPT: known[key].right, REFUSE: known[key].wrong, EITHER: arbitrary}[must]
        pairs += [key, draw(values.filter(_is_no_option))]
        musts.append(must if must == REFUSE or known[key].free or len(keys) == 1 else EITHER)
    must = REFUSE if REFUSE in musts else EITHER if EITHER in musts else ACCEPT
    return Case("settings", {"options": [method, "--accept-unread"], "pairs": pairs, "then": "configure"}, must)


@st.composite
def sane(draw) -> Case:
    """One to three settings that are right, for a method that trains in a moment; carried out to the end."""
    method, known = _method(draw, [name for name in oracle.METHODS if name != "LPpp"])
    keys = draw(st.lists(st.sampled_from(list(known)), min_size=1, max_size=3, unique=True))
    pairs = [word for key in keys for word in (key, draw(known[key].right)) if known[key].free]
    return Case("settings", {"options": [method], "pairs": pairs, "then": "execute"}, ACCEPT)


def _method(draw, names: list[str]) -> tuple[str, dict[str, oracle.Key]]:
    """A method, and what is known of its settings."""
    method = draw(st.sampled_from(names))
    own = {f"TRAINER.{method.upper()}.{key}": rule for key, rule in oracle.METHODS[method].items()}
    return method, oracle.GENERAL | own


def _is_no_option(text: str) -> bool:
    return not text.startswith("-") or text[1:2].isdigit()


def carry_out(case: Case, place: Place, site: Site) -> Outcome:
    """Make the configuration, as train.py does before any work; `then` says how much further to go."""
    options, pairs, then = case.what["options"], case.what["pairs"], case.what["then"]
    words = ["--root", str(site.get(phantom_root)), "--trainer", *options]
    if then == "execute":
        return executed(words, pairs, place)
    if then == "build":
        return run_train("--shots", 1, *words, "--no-train", "--output-dir", place.inside / "run", *pairs)
    made = []

    def work() -> int:
        args = parse_args([*words, *pairs])
        return exit_code(lambda: made.append(configuration(args)[0]))

    outcome = call(work)
    if outcome.code == 0:
        outcome.wrong += other_values(made[0], pairs)
    return outcome


def executed(words: list[str], pairs: list[str], place: Place) -> Outcome:
    """Run settings to results.json, with one image per class and one epoch."""
    kept = [(key, text) for key, text in batched(pairs) if key not in OVERRIDDEN]
    pairs, folder = [word for pair in kept for word in pair], place.inside / "run"
    run = ["--shots", "1", "--accept-unread", "--output-dir", str(folder)]
    outcome = run_train(*words, *run, *pairs, *CHEAP)
    if outcome.code == 0:
        outcome.wrong += [] if ("TEST.NO_TEST", "True") in kept else finite_results(folder)
        outcome.wrong += other_values(yaml.safe_load((folder / "config.yaml").read_text()), pairs)
    return outcome


def batched(words: list[str]) -> list[tuple[str, str]]:
    return list(zip(words[::2], words[1::2], strict=False))


def other_values(stored: dict, pairs: list[str]) -> list[str]:
    """The settings that are not stored as they were asked for."""
    found = []
    for key, text in batched(pairs):
        node = stored
        for part in key.split("."):
            node = node[part]
        if node != text and _listed(node) != _listed(_literal(text)):
            found.append(f"{key} is stored as {node!r}, {text!r} was asked for")
    return found


def _literal(text: str) -> object:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


def _listed(value: object) -> object:
    return [_listed(inner) for inner in value] if isinstance(value, list | tuple) else value


def names(case: Case) -> list[str]:
    """What an error message may call the input: the method, an option, a key or a value."""
    return [word for word in [*case.what["options"], *case.what["pairs"]] if word.strip()]
