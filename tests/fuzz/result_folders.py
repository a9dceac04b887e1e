"""Folders of runs around a damaged file, and what must hold after a program has read them."""

import copy
import csv
import json
import shutil
from pathlib import Path
from unittest import mock

from tests.fuzz.place import Place, Site
from tests.fuzz.project import CHEAP, finite_results, phantom_root, run_sweep, run_train, write_text
from tests.fuzz.verdict import Case, Outcome

GRID = ["--methods", "CoOp,KgCoOp", "--datasets", "busi", "--shots", "16", "--output", "OUT"]
PROGRAMS = {
    "report": ["report", "OUT", "--formats", "md,csv,tex"],
    "page": ["report", "OUT", "--formats", "html"],
    "table": ["table", *GRID],
}
GOOD = {1: 61.25, 2: 61.5, 3: 61.75}  # accuracies by seed of another method; their mean is MEAN
MEAN = "61.5"
COMMAND = ["--trainer", "CLIPAdapter", "--shots", "1", *CHEAP]


def changed(results: dict, where: tuple[str, ...], value: object) -> dict:
    """A copy with another value in some place."""
    results = copy.deepcopy(results)
    node = results
    for part in where[:-1]:
        node = node[part]
    node[where[-1]] = value
    return results


def read_tree(case: Case, place: Place, results: dict) -> Outcome:
    """Write three good runs of a method and the run of the case, and read them with a program of the sweep."""
    output = place.inside / "out"
    for seed, accuracy in GOOD.items():
        folder = _run_folder(output, "KgCoOp", seed)
        good = changed({**results, "method": "KgCoOp", "seed": seed}, ("metrics", "all", "accuracy"), accuracy)
        (folder / "results.json").write_text(json.dumps(good))
    folder = _run_folder(output, case.what["method"].replace("/", "_"), 3)
    write_text(folder / "results.json", case)
    outcome = run_sweep(*(output if word == "OUT" else word for word in PROGRAMS[case.what["program"]]))
    if outcome.code == 0:
        outcome.wrong += _unreported(case, outcome) + unescaped(output, outcome.out + outcome.err)
    return outcome


def _run_folder(output: Path, method: str, seed: int) -> Path:
    folder = output / "few_shot" / "busi" / "Tiny" / method / "16shots" / f"seed{seed}"
    folder.mkdir(parents=True)
    (folder / "COMPLETE").write_text("")
    return folder


def _unreported(case: Case, outcome: Outcome) -> list[str]:
    """What is missing in the output: the damaged run, or the others."""
    printed = outcome.out + outcome.err
    found = []
    if case.what["damaged"] and "seed3" not in printed.replace("seed 3", "seed3"):
        found.append(f"the damaged run is not named: {printed[-300:]}")
    if MEAN not in printed:
        found.append(f"the mean of the good runs, {MEAN}, is not reported: {printed[-300:]}")
    return found


def unescaped(output: Path, printed: str) -> list[str]:
    """Texts with EVIL in them that a terminal, LaTeX, a browser or a spreadsheet would carry out."""
    texts = {path: path.read_text(encoding="utf-8") for path in (output / "report").glob("*.*")}
    found = ["a control character in the terminal"] if "\x1b" in printed else []
    for path, text in texts.items():
        cells = [cell for row in csv.reader(text.splitlines()) for cell in row] if path.suffix == ".csv" else []
        found += [f"{path.name}: formula {cell!r}" for cell in cells if cell[:1] in "=+-@\t\r" and "EVIL" in cell]
        script = {".tex": "\\input{EVIL", ".html": "<script>EVIL", ".md": "<script>EVIL"}.get(path.suffix)
        found += [f"{path.name}: {script}"] if script and script in text else []
        found += [f"{path.name}: a control character"] if "\x1b" in text else []
    return found


def trained(folder: Path) -> dict:
    """A run that was interrupted before its results were written, and the same run complete."""
    root = phantom_root(folder)
    with mock.patch("runs.execute.finish", side_effect=KeyboardInterrupt):
        outcome = run_train("--root", root, "--output-dir", folder / "interrupted", *COMMAND)
    assert outcome.code == 130, outcome
    complete = shutil.copytree(folder / "interrupted", folder / "complete")
    assert run_train("--root", root, "--output-dir", complete, *COMMAND).code == 0
    return {"root": root, "interrupted": folder / "interrupted", "complete": complete}


def train_again(case: Case, place: Place, site: Site) -> Outcome:
    """Damage a file of a complete run, and give the same command again, or one of the sweep that it belongs to."""
    made = site.get(trained)
    output = place.inside / "out"
    folder = shutil.copytree(
        made["complete"], output / "few_shot" / "phantom" / "Tiny" / "CLIPAdapter" / "1shots" / "seed1"
    )
    path, content = folder / case.what["file"], case.what["text"]
    if isinstance(content, dict):
        results = json.loads(path.read_text())
        for where, value in content.items():
            results = changed(results, tuple(where.split("/")), value)
        path.write_text(json.dumps(results))
    else:
        write_text(path, case)
    if path.name == "config.yaml":  # it is read where the digest does not tell that the settings are the same
        results = changed(json.loads((folder / "results.json").read_text()), ("settings_digest",), "0" * 16)
        (folder / "results.json").write_text(json.dumps(results))
    if case.what["program"] == "dry run":
        grid = ["--methods", "CLIPAdapter", "--shots", "1", "--seeds", "1,2", *CHEAP]
        return run_sweep("run", "--dry-run", "--root", made["root"], "--output", output, *grid)
    outcome = run_train("--root", made["root"], "--output-dir", folder, *COMMAND)
    outcome.wrong += finite_results(folder) if outcome.code == 0 else []
    return outcome
