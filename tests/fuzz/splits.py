"""Splits: split_Own.json and images.csv of a data set with two classes."""

import copy
import json
from pathlib import Path

from hypothesis import strategies as st

from tests.fuzz.place import Place, Site
from tests.fuzz.project import CLASSES, own_copy, run_own, write_text
from tests.fuzz.verdict import ACCEPT, EITHER, REFUSE, Case, Outcome
from tests.fuzz.yamls import VALUES

PARTS = {"train": (0, 1, 2), "val": (3,), "test": (4, 5)}
SPLIT = {part: [[f"{c}/{k}.png", n, c] for n, c in enumerate(CLASSES) for k in PARTS[part]] for part in PARTS}
ROWS = [f"{path},{name},{part}" for part, entries in SPLIT.items() for path, _, name in entries]
CSV = "path,label,part\n" + "\n".join(ROWS) + "\n"
NO_PARTS = "path,label\n" + "\n".join(row.rpartition(",")[0] for row in ROWS) + "\n"
GROUPED = "path,label,patient\n" + "\n".join(f"{c}/{k}.png,{c},{c}{k}" for c in CLASSES for k in range(6)) + "\n"
FIRST = SPLIT["train"][0]
Change = tuple[str, int, int, object]  # part, number of the entry, number of the field, new value

FIELDS_REFUSED: list[Change] = [
    ("train", 0, 0, "/etc/passwd"),
    ("train", 0, 0, "../../precious.txt"),
    ("train", 0, 0, "ill/../../../../precious.txt"),
    ("train", 0, 0, "nope/0.png"),
    ("train", 0, 0, "ill/nope.png"),
    ("train", 0, 0, ""),
    ("train", 0, 0, "ill"),
    ("train", 0, 0, "ill/0.png\x00"),
    ("train", 0, 0, "ill/\ud800.png"),
    ("train", 0, 0, 5),
    ("train", 0, 0, None),
    ("train", 0, 0, ["ill/0.png"]),
    ("train", 0, 0, "a" * 5000),
    ("train", 0, 0, SPLIT["train"][1][0]),
    ("train", 0, 0, SPLIT["test"][0][0]),
    ("train", 0, 0, SPLIT["test"][-1][0]),
    ("train", 0, 0, "ill/./4.png"),
    ("train", 0, 1, 1),
    ("train", 0, 1, -1),
    ("train", 0, 1, 0.5),
    ("train", 0, 1, 10**30),
    ("train", 0, 1, "zero"),
    ("train", 0, 1, None),
    ("train", 0, 1, [0]),
    ("train", 0, 1, 7),
    ("train", 0, 1, float("nan")),
    ("train", 0, 2, "well"),
    ("train", 0, 2, "other"),
    ("train", 0, 2, ""),
    ("train", 0, 2, None),
    ("train", 0, 2, 3),
    ("train", 0, 2, ["ill"]),
]


def _with(*changes: Change) -> dict:
    split = copy.deepcopy(SPLIT)
    for part, entry, field, value in changes:
        split[part][entry][field] = value
    return split


def _gap() -> dict:
    """Labels 0 and 2."""
    return {part: [[file, 2 * label, name] for file, label, name in entries] for part, entries in SPLIT.items()}


SPLITS_ACCEPTED = [
    SPLIT,
    {**SPLIT, "origin": "mine"},
    {**SPLIT, "note": [1, 2]},
    {**SPLIT, "train": SPLIT["train"][1:]},
]
SPLITS_REFUSED = [_with(change) for change in FIELDS_REFUSED] + [
    {},
    [],
    None,
    5,
    "text",
    [SPLIT],
    {"train": SPLIT["train"], "test": SPLIT["test"]},
    {**SPLIT, "test": []},
    {**SPLIT, "train": None},
    {**SPLIT, "train": {"a": 1}},
    {**SPLIT, "train": "text"},
    {**SPLIT, "train": [["ill/0.png", 0]]},
    {**SPLIT, "train": [["ill/0.png", 0, "ill", 1]]},
    {**SPLIT, "train": ["abc", *SPLIT["train"]]},
    {**SPLIT, "train": SPLIT["train"] + [FIRST]},
    {**SPLIT, "val": SPLIT["val"] + [FIRST]},
    {**SPLIT, "test": SPLIT["test"] + [FIRST]},
    {**SPLIT, "train": SPLIT["train"][:3]},
    {**SPLIT, "test": SPLIT["test"][:2]},
    _gap(),
]
TEXTS_REFUSED = ["", "{", "nope", json.dumps(SPLIT)[:100], "[" * 100_000, json.dumps(SPLIT) + "}", "\x00", "NaN"]
CSV_ACCEPTED = [CSV, NO_PARTS, CSV.replace("\n", "\r\n"), "\ufeff" + CSV, CSV + "\n", GROUPED, CSV.replace(",", ";")]
CSV_REFUSED = [
    "",
    "path,label\n",
    CSV.replace("path", "file"),
    CSV.replace("label", "class"),
    CSV.partition("\n")[2],
    CSV.replace("ill/0.png,ill", "ill/0.png,"),
    CSV.replace("ill/0.png", ""),
    CSV.replace("ill/0.png", "/etc/passwd"),
    CSV.replace("ill/0.png", "../../../precious.txt"),
    CSV.replace("ill/0.png", "ill/nope.png"),
    CSV.replace("ill/0.png", "ill"),
    CSV.replace("ill/0.png,ill,train", "ill/0.png,ill,nope"),
    CSV.replace("ill/0.png,ill,train", "ill/0.png,ill,"),
    CSV.replace("ill/0.png,ill,train", "ill/0.png,ill"),
    CSV.replace("ill/0.png,ill,train", "ill/0.png,ill,train,more"),
    CSV.replace("ill/0.png,ill,train", "ill/0.png,other,train"),
    CSV + "ill/0.png,ill,train\n",
    CSV + "ill/0.png,ill,test\n",
    CSV + "ill/0.png,well,train\n",
    CSV.replace(",test", ",train"),
    CSV.replace("ill/4.png", 'ill/"4.png'),
    CSV.replace("ill/0.png", "ill/\x00.png"),
    "path,path,label\n" + "\n".join(f"{row.split(',')[0]},{row}" for row in ROWS),
    NO_PARTS[: len(NO_PARTS) // 2] + '"',
]


def hand() -> list[Case]:
    """What must be accepted and what must be refused."""
    found = [_case("split", json.dumps(split), ACCEPT) for split in SPLITS_ACCEPTED]
    found += [_case("split", json.dumps(split), REFUSE) for split in SPLITS_REFUSED]
    found += [_case("split", text, REFUSE) for text in TEXTS_REFUSED]
    found += [_case("csv", text, ACCEPT) for text in CSV_ACCEPTED]
    found += [_case("csv", text, REFUSE) for text in CSV_REFUSED]
    return [*found, Case("splits", {"file": "csv", "text": CSV, "encoding": "utf-16"}, REFUSE)]


def _case(file: str, text: str, must: str) -> Case:
    return Case("splits", {"file": file, "text": text, "encoding": "utf-8"}, must)


@st.composite
def cases(draw) -> Case:
    """A split with some fields replaced, an entry moved or left out, or a file that was damaged."""
    how = draw(st.sampled_from(["fields", "values", "order", "moved", "damaged", "csv"]))
    if how == "fields":
        changes = draw(st.lists(st.sampled_from(FIELDS_REFUSED), min_size=1, max_size=3))
        return _case("split", json.dumps(_with(*changes)), REFUSE if len(changes) == 1 else EITHER)
    if how == "values":
        part, entry = draw(st.sampled_from(list(SPLIT))), draw(st.integers(0, 1))
        return _case("split", json.dumps(_with((part, entry, draw(st.integers(0, 2)), draw(VALUES)))), EITHER)
    if how == "order":
        return _case("split", json.dumps({part: draw(st.permutations(SPLIT[part])) for part in SPLIT}), ACCEPT)
    if how == "moved":
        source, target = draw(st.permutations(list(SPLIT)))[:2]
        entry = draw(st.sampled_from(SPLIT[source]))
        return _case("split", json.dumps({**SPLIT, target: SPLIT[target] + [entry]}), REFUSE)
    file, good = ("csv", CSV) if how == "csv" else ("split", json.dumps(SPLIT))
    at, length = draw(st.integers(0, len(good))), draw(st.integers(0, 20))
    return _case(file, good[:at] + draw(st.text(max_size=5)) + good[at + length :], EITHER)


def carry_out(case: Case, place: Place, site: Site) -> Outcome:
    """Build a run on the data set with the file beside its images."""
    root = own_copy(site, place)
    write_text(root / "Own" / {"split": "split_Own.json", "csv": "images.csv"}[case.what["file"]], case)
    before = _files(root)
    outcome = run_own(case, root, place)
    changed = [path.name for path, content in before.items() if not path.is_file() or path.read_bytes() != content]
    outcome.wrong += [f"changed {changed}"] if changed else []
    return outcome


def _files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def names(case: Case) -> list[str]:
    """What an error message may call the input: its file, or an image that it names."""
    return ["split_Own.json", "images.csv", ".png", "/Own/Own'", *(f"class '{name}'" for name in CLASSES)]
