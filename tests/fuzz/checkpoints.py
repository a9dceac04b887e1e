"""Trained models, states to resume from, and model folders, with damaged or dangerous content."""

import json
import re
import shutil
from pathlib import Path

import torch
from hypothesis import strategies as st

from tests.fuzz.place import Place, Site
from tests.fuzz.project import finite_results, run_train
from tests.fuzz.result_folders import COMMAND, trained
from tests.fuzz.verdict import ACCEPT, EITHER, REFUSE, Case, Outcome
from tests.fuzz.weight_files import CONTENTS, EQUAL, VALUES, changed_json, model_folder, replaced, saved, write

MODEL, STATE, INITIAL = "model.pth", "checkpoint.pth", "initial.pth"
WEIGHTS, CONFIG, TOKENIZER = "open_clip_model.safetensors", "open_clip_config.json", "tokenizer.json"
TENSOR = "state_dict/*"
CHANGES_REFUSED = [(TENSOR, value) for value in (*VALUES, "missing", "additional")]
CHANGES_REFUSED += [("state_dict", value) for value in ("none", "text", "list", "number", "missing")]
CHANGES_REFUSED += [("about", value) for value in ("text", "list", "number")]
CHANGES_REFUSED += [(f"about/{key}", value) for key in ("method", "backbone") for value in ("text", "list", "number")]
CHANGES_REFUSED += [(f"about/{key}", value) for key in ("settings", "classnames") for value in ("number", "dictionary")]
CHANGES_ACCEPTED = [(TENSOR, value) for value in EQUAL] + [("about", "missing"), ("note", "text"), ("epoch", "missing")]
PLACES_IN_STATE = ["learner/*", "optim", "optim/state", "sched", "precision", "state", "state/epoch", "state/history"]
PLACES_IN_STATE += ["about", "learner", "state/best_result"]
JSON_REFUSED = [
    (CONFIG, "model_cfg", None),
    (CONFIG, "model_cfg", []),
    (CONFIG, "model_cfg/embed_dim", "many"),
    (CONFIG, "model_cfg/embed_dim", -1),
    (CONFIG, "model_cfg/embed_dim", 7),
    (CONFIG, "model_cfg/text_cfg", 5),
    (CONFIG, "model_cfg/text_cfg/context_length", "long"),
    (CONFIG, "model_cfg/text_cfg/context_length", -1),
    (CONFIG, "model_cfg/text_cfg/context_length", 0),
    (CONFIG, "model_cfg/text_cfg/context_length", 10**9),
    (CONFIG, "model_cfg/text_cfg/context_length", None),
    (CONFIG, "model_cfg/vision_cfg/timm_model_name", "nope"),
    (CONFIG, "model_cfg/vision_cfg/timm_model_name", 5),
    (CONFIG, "preprocess_cfg", None),
    (CONFIG, "preprocess_cfg/mean", 0.5),
    (CONFIG, "preprocess_cfg/mean", [0.5]),
    (CONFIG, "preprocess_cfg/mean", ["a", "b", "c"]),
    (CONFIG, "preprocess_cfg/mean", None),
    (CONFIG, "preprocess_cfg/std", [0, 0, 0]),
    (CONFIG, "preprocess_cfg/std", [0.5, 0.5]),
    ("config.json", "hidden_size", 7),
    ("config.json", "hidden_size", "x"),
    ("config.json", "num_attention_heads", 0),
    ("config.json", "model_type", "nope"),
]
TEXTS = ["{", "{}", "\x00", '"text"', "", "null", "[" * 100_000]


def hand() -> list[Case]:
    """What must be accepted and what must be refused; a damaged state must lead to the same result as none."""
    found = [_change(MODEL, *change, ACCEPT) for change in CHANGES_ACCEPTED]
    found += [_change(MODEL, *change, REFUSE) for change in CHANGES_REFUSED]
    found += [_case(MODEL, {"content": name}, REFUSE) for name in CONTENTS]
    found += [_case(INITIAL, {"content": name}, REFUSE) for name in ("text", "a list", "pickle")]
    found += [_change(STATE, "note", "text", ACCEPT)]
    found += [_change(STATE, place, value, ACCEPT) for place in PLACES_IN_STATE for value in ("none", "missing")]
    found += [_change(STATE, "learner/*", value, ACCEPT) for value in VALUES]
    found += [_case(STATE, {"content": name}, ACCEPT) for name in CONTENTS]
    found += [_case(file, {"json": [where, value]}, REFUSE) for file, where, value in JSON_REFUSED]
    found += [_case(CONFIG, {"text": text}, REFUSE) for text in TEXTS]
    found += [_case(file, {"text": text}, REFUSE) for file in (TOKENIZER, "config.json") for text in TEXTS[-3:]]
    found += [_case(WEIGHTS, {"content": name}, REFUSE) for name in list(CONTENTS)[:3]]
    found += [_case("open_clip_pytorch_model.bin", {"content": name}, REFUSE) for name in list(CONTENTS)[2:]]
    return [*found, _case(CONFIG, {"json": ["note", 1]}, ACCEPT), _case(WEIGHTS, {"cut": 0.5}, REFUSE)]


def _case(file: str, change: dict, must: str) -> Case:
    return Case("checkpoints", {"file": file, "change": change}, must)


def _change(file: str, where: str, value: str, must: str) -> Case:
    return _case(file, {"where": where, "value": value}, must)


@st.composite
def cases(draw) -> Case:
    """A value of another type in some place, a cut or changed file, or a changed setting of a model folder."""
    how = draw(st.sampled_from(["value", "bytes", "cut", "json"]))
    file = draw(st.sampled_from([MODEL, STATE]))
    if how == "value":
        places = [TENSOR, "state_dict", "about", "epoch", "about/classnames", "about/settings"]
        where = draw(st.sampled_from(PLACES_IN_STATE if file == STATE else places))
        value = draw(st.sampled_from([*VALUES, "missing", "additional"]))
        return _change(file, where, value, ACCEPT if file == STATE else EITHER)
    if how == "json":
        file, where, _ = draw(st.sampled_from(JSON_REFUSED))
        value = draw(st.none() | st.integers(-9, 9) | st.text(max_size=5) | st.lists(st.integers(0, 2), max_size=4))
        return _case(file, {"json": [where, value]}, EITHER)
    share = draw(st.floats(0, 0.99))
    if how == "cut":
        return _case(file, {"cut": share}, ACCEPT if file == STATE else REFUSE)
    return _case(file, {"byte": [share, draw(st.integers(0, 255))]}, ACCEPT if file == STATE else EITHER)


def carry_out(case: Case, place: Place, site: Site) -> Outcome:
    """Change the file and give the command that reads it: test, train from it, resume, or build the backbone."""
    made, file = site.get(trained), case.what["file"]
    words = ["--root", made["root"], *COMMAND]
    if file in (MODEL, INITIAL):
        folder = shutil.copytree(made["complete"], place.inside / "run")
        write(folder / file, _content(case, folder / MODEL, place))
        if file == MODEL:
            return _same_accuracy(run_train(*words, "--eval-only", "--model-dir", folder), case, made)
        more = ["--output-dir", place.inside / "new", "MODEL.INIT_WEIGHTS", folder / file]
        return run_train(*words, "--no-train", *more)
    if file == STATE:
        folder = shutil.copytree(made["interrupted"], place.inside / "run")
        write(folder / file, _content(case, folder / STATE, place))
        outcome = run_train(*words, "--output-dir", folder)
        outcome.wrong += finite_results(folder) if outcome.code == 0 else []
        return _same_accuracy(outcome, case, made)
    folder = model_folder(place.inside / "model")
    content = _content(case, folder / file, place)
    if file.endswith(".bin"):
        (folder / WEIGHTS).unlink()
    write(folder / file, content)
    return run_train(*words, "--no-train", "--output-dir", place.inside / "new", "MODEL.BACKBONE.PATH", folder)


def _content(case: Case, original: Path, place: Place) -> bytes:
    change = case.what["change"]
    if "content" in change:
        return CONTENTS[change["content"]](place.canary)
    if "where" in change:
        stored = torch.load(original, weights_only=True)
        stored.pop("digest", None)  # as in files of other programs; changed bytes show whether it is compared
        return saved(replaced(stored, change["where"], change["value"]))
    if "json" in change:
        return changed_json(original, *change["json"])
    if "text" in change:
        return change["text"].encode()
    content = original.read_bytes()
    if "cut" in change:
        return content[: int(change["cut"] * len(content))]
    share, value = change["byte"]
    at = int(share * len(content))
    return content[:at] + bytes([value]) + content[at + 1 :]


def _same_accuracy(outcome: Outcome, case: Case, made: dict) -> Outcome:
    """A model that is accepted has the accuracy of the original one, unless somebody replaced its weights by others."""
    expected = json.loads((made["complete"] / "results.json").read_text())["metrics"]["all"]["accuracy"]
    printed = re.findall(r"accuracy (\d+\.\d+) %", outcome.out)
    same = case.must == ACCEPT or "byte" in case.what["change"]
    if outcome.code == 0 and same and printed != [f"{expected:.2f}"]:
        outcome.wrong.append(f"accuracy {printed} in place of {expected:.2f}")
    return outcome


def names(case: Case) -> list[str]:
    """What an error message may call the input: the file, or the folder of the model."""
    return [case.what["file"], "inside/model", "inside/run"]
