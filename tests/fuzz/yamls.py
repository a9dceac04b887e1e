"""Yaml files: one that describes a data set, and CoOp-style files of a method."""

import json
import re

from hypothesis import strategies as st

from tests.fuzz import oracle
from tests.fuzz.place import Place, Site
from tests.fuzz.project import own_copy, run_own, write_text
from tests.fuzz.verdict import ACCEPT, EITHER, REFUSE, Case, Outcome

METHOD = "OPTIM:\n  NAME: sgd\n  LR: 0.002\n  MAX_EPOCH: 2\nINPUT:\n  TRANSFORMS: ['random_flip', 'normalize']\n"
DATASET = "DATASET:\n  NAME: Folder\n  FOLDER: Own\n  CLASSES: [ill, well]\n"
ALIASES = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
ACCEPTED = {
    "method": [
        "",
        "# nothing\n",
        "{}",
        METHOD,
        METHOD.replace("0.002", "1"),
        METHOD.replace("'", '"'),
        "OPTIM.LR: 0.01\n",
        "OPTIM: {LR: 2e-3}\n",
        "INPUT:\n  SIZE: (224, 224)\n  RRCROP_SCALE: (0.5, 1.0)\n",
        "MODEL:\n  BACKBONE:\n    NAME: ViT-B/16\n",
        "DATALOADER:\n  TRAIN_X:\n    BATCH_SIZE: 4\n",
        "%YAML 1.1\n---\nOPTIM:\n  LR: 0.01\n",
        "X: &x 0.01\n".replace("X", "OPTIM.LR") + "OPTIM.GAMMA: *x\n",
        "OPTIM:\r\n  LR: 0.01\r\n",
    ],
    "dataset": [
        DATASET,
        DATASET.replace("[ill, well]", "['ill', 'well']"),
        "DATASET.NAME: Folder\nDATASET.FOLDER: Own\n",
        DATASET + "OPTIM:\n  LR: 0.01\n",
    ],
}
REFUSED = {
    "method": [
        "- a\n",
        "just a text",
        "1",
        "null: 1\n",
        "OPTIM: {LR: [}",
        "OPTIM:\n  LRR: 1\n",
        "OPTIM: 5\n",
        "OPTIM:\n",
        "OPTIM:\n  LR:\n",
        "OPTIM:\n  LR: fast\n",
        "OPTIM:\n  LR: 0\n",
        "OPTIM:\n  LR: .nan\n",
        "OPTIM:\n  LR: .inf\n",
        "OPTIM:\n  LR: true\n",
        "OPTIM:\n  LR: [0.1]\n",
        "OPTIM:\n  MAX_EPOCH: 0\n",
        "OPTIM:\n  MAX_EPOCH: 1.5\n",
        "OPTIM:\n  NAME: 7\n",
        "OPTIM:\n  LR: 2020-01-01\n",
        "OPTIM:\n  LR: !!binary aGVsbG8=\n",
        "OPTIM:\n  LR: !!python/object/apply:os.system ['true']\n",
        "a: &a {b: *a}\n",
        "OPTIM: &a\n  LR: *a\n",
        "INPUT: &a\n  TRANSFORMS: [*a]\n",
        ALIASES,
        "INPUT:\n  TRANSFORMS: *nope\n",
        "INPUT:\n  TRANSFORMS: [1, 2]\n",
        "INPUT:\n  RRCROP_SCALE: []\n",
        "? [a, b]\n: 1\n",
        "OPTIM:\n\tLR: 1\n",
        "--- 1\n--- 2\n",
        "OPTIM.LR.X: 1\n",
        "x: " + "[" * 3000 + "]" * 3000,
        "x: " + "{y: " * 500 + "1" + "}" * 500,
        "\x00",
        "OPTIM:\n  LR: '\x07'\n",
        "OPTIM:\n  LR: 1" + "0" * 400 + "\n",
    ],
    "dataset": [
        "",
        "DATASET:\n  NAME: Nope\n",
        "DATASET:\n  NAME: 5\n",
        "DATASET:\n  NAME: Folder\n",
        "DATASET:\n  NAME: Folder\n  FOLDER: Nope\n",
        "DATASET:\n  NAME: Folder\n  FOLDER: ../..\n",
        "DATASET:\n  NAME: Folder\n  FOLDER: /etc\n",
        DATASET.replace("[ill, well]", "[ill, ill]"),
        DATASET.replace("[ill, well]", "[ill]"),
        DATASET.replace("[ill, well]", "[ill, well, other]"),
        DATASET.replace("[ill, well]", "[1, 2]"),
        DATASET.replace("[ill, well]", "{ill: well}"),
        DATASET.replace("[ill, well]", "ill"),
        DATASET.replace("[ill, well]", "[ill, [well]]"),
        DATASET + "  DUPLICATES: nope\n",
        DATASET + "  FOLDS: 1\n",
        DATASET + "  GROUP: '('\n",
    ],
}
ENCODINGS = [  # text and encoding, as somebody's editor might write it
    (METHOD, "utf-16", REFUSE),
    (METHOD, "utf-8-sig", ACCEPT),
    (METHOD + "# é\n", "latin-1", REFUSE),
]


def hand() -> list[Case]:
    """What must be accepted and what must be refused."""
    listed = ((ACCEPTED, ACCEPT), (REFUSED, REFUSE))
    cases = [_case(part, text, must) for table, must in listed for part, texts in table.items() for text in texts]
    return cases + [_case("method", text, must, encoding) for text, encoding, must in ENCODINGS]


def _case(part: str, text: str, must: str, encoding: str = "utf-8") -> Case:
    return Case("yamls", {"part": part, "text": text, "encoding": encoding}, must)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)


@st.composite
def cases(draw) -> Case:
    """A file with right or wrong values, with any values, or a good file that was damaged."""
    part = draw(st.sampled_from(["method", "dataset"]))
    good = METHOD if part == "method" else DATASET
    how = draw(st.sampled_from(["known", "values", "damaged", "text"]))
    if how == "known" and part == "method":
        key, must = draw(st.sampled_from(list(oracle.GENERAL))), draw(st.sampled_from([ACCEPT, REFUSE]))
        rule = oracle.GENERAL[key]
        value = draw(rule.right if must == ACCEPT else rule.wrong.filter(_is_wrong_in_yaml))
        text = value if must == ACCEPT else json.dumps(value)
        return _case(part, f"{key}: {text.replace('True', 'true').replace('False', 'false')}\n", must)
    if how == "values":
        key = draw(st.sampled_from([*oracle.GENERAL, "DATASET", "OPTIM", "NOPE", "DATASET.FOLDER", "DATASET.CLASSES"]))
        return _case(part, f"{good.replace(':', ': ')}{key}: {json.dumps(draw(VALUES))}\n", EITHER)
    if how == "text":
        return _case(part, draw(st.text(max_size=200)), EITHER)
    at, length = draw(st.integers(0, len(good))), draw(st.integers(0, 5))
    inserted = draw(st.text("[]{}:,-&*!|>%@`'\"#?\n\t 019a", max_size=4))
    return _case(part, good[:at] + inserted + good[at + length :], EITHER)


def _is_wrong_in_yaml(text: str) -> bool:
    """Whether a value that is wrong on the command line is wrong in quotation marks, too."""
    return bool(text.strip()) and "\ud800" not in text


def carry_out(case: Case, place: Place, site: Site) -> Outcome:
    """Build a run with the file."""
    root = own_copy(site, place)
    path = root / ("own.yaml" if case.what["part"] == "dataset" else "mine.yaml")
    write_text(path, case)
    words = ["--config-file", path] if case.what["part"] == "method" else []
    return run_own(case, root, place, *words)


def names(case: Case) -> list[str]:
    """What an error message may call the input: the file, a key in it, or the folder and classes that it names."""
    keys = re.findall(r"[A-Z][A-Z_]+", case.what["text"])
    return ["own.yaml", "mine.yaml", *keys, "DATASET.", "Folder", "class"]
