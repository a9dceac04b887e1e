"""Imports log.txt files of CoOp-style code as results, marked as imported."""

import re
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from dassl.errors import InputError
from runs.folder import MARKER, is_complete
from runs.results import read_file, read_results, write_results
from runs.results_check import check_results
from runs.run import Run
from sweep.plan import run_for

# Names in CoOp-style code that differ from those here; other data sets have the same name in lower case.
DATASETS = {"COVID_19": "covid"}
BACKBONES = {"PMCCLIP": "PMC-CLIP"}
SHOTS, SEED = re.compile(r"shots_(\d{1,9})"), re.compile(r"seed_?(\d{1,9})")
TEST = re.compile(r"^Evaluate on the \*(\w+)\* set", re.MULTILINE)
NUMBERS = {
    "total": re.compile(r"^\* total: ([\d,]{1,15})", re.MULTILINE),
    "correct": re.compile(r"^\* correct: ([\d,]{1,15})", re.MULTILINE),
    "accuracy": re.compile(r"^\* accuracy: (\d+(?:\.\d*)?)%", re.MULTILINE),
    "macro_f1": re.compile(r"^\* macro_f1: (\d+(?:\.\d*)?)%", re.MULTILINE),
}
ELAPSED = re.compile(r"^Elapsed: (?:(\d{1,6}) days?, )?(\d{1,2}):(\d\d):(\d\d)", re.MULTILINE)
PARTS = {"train_base": "base", "test_new": "new"}


@dataclass(frozen=True)
class Log:
    """A log file and the run it belongs to, as read from its folders."""

    path: Path
    run: Run
    part: str  # of the classes: "all", "base" or "new"
    config: str


def import_folder(logs: Path, output: Path, backbone: str = "", config: str = "") -> tuple[int, list[str]]:
    """Write a result folder for every run below `logs`.

    Returns the number of folders written, and one line for each refused log with the reason.
    """
    groups: dict[Run, list[Log]] = {}
    done, refused = 0, []
    for path in sorted(logs.rglob("log.txt")):
        try:
            log = _named(path, backbone)
        except InputError as error:
            refused.append(f"{path}: {error}")
            continue
        if not config or log.config == config:
            groups.setdefault(log.run, []).append(log)
    for run, found in groups.items():
        try:
            done += _import(run, found, output)
        except InputError as error:
            refused.append(f"{found[0].path}: {error}")
    if not done and not refused and not groups:
        raise InputError(f"'{logs}' holds no log.txt{f' of the configuration {config}' if config else ''}")
    return done, refused


def _named(path: Path, backbone: str) -> Log:
    """The log's run, from <DATASET>/shots_K/<TRAINER>/<config>/seedS, for base-to-new below train_base or test_new."""
    parts = path.resolve().parts[:-1]
    places = [k for k, part in enumerate(parts) if SHOTS.fullmatch(part)]
    if not places or not 0 < (at := places[-1]) < len(parts) - 2 or not (seed := SEED.fullmatch(parts[-1])):
        raise InputError("its folders are not …/<DATASET>/shots_K/<TRAINER>/<config>/seedS")
    method, _, named = parts[at + 1].rpartition("_")
    method, named = (method, named) if method else (named, backbone)
    if not named:
        raise InputError(f"the trainer's name '{method}' does not end with a backbone; give --backbone")
    dataset = DATASETS.get(parts[at - 1], parts[at - 1].lower())
    trees = [PARTS[part] for part in parts[: at - 1] if part in PARTS]
    if len(trees) > 1:
        raise InputError("it lies below both train_base and test_new")
    part = trees[0] if trees else "all"
    protocol = "few_shot" if part == "all" else "base2new"
    shots = int(SHOTS.fullmatch(parts[at])[1])
    run = Run(protocol, dataset, BACKBONES.get(named, named), method, shots, int(seed[1]))
    return Log(path, run, part, "/".join(parts[at + 2 : -1]))


def _import(run: Run, logs: list[Log], output: Path) -> bool:
    """Write the results of a run; False if the same results are there already."""
    wanted = ["all"] if run.protocol == "few_shot" else ["base", "new"]
    by_part = {part: [log for log in logs if log.part == part] for part in wanted}
    for part, found in by_part.items():
        if not found:
            raise InputError(f"its log of the {part} classes is missing; a run needs train_base and test_new")
        if len(found) > 1:
            raise InputError(f"ambiguous: also {', '.join(str(log.path) for log in found[1:])}; choose with --config")
    read = {part: _read(found[0].path) for part, found in by_part.items()}
    seconds = [took for _, took in read.values() if took is not None]
    run = run_for(**run.as_dict())  # a method that learns nothing has one run for all shots and seeds
    results = {
        **run.as_dict(),
        "variant": "imported",
        "metrics": {part: metrics for part, (metrics, _) in read.items()},
        "seconds": {"train_and_test": sum(seconds)} if seconds else {},
        "imported": {"from": ", ".join(str(found[0].path) for found in by_part.values())},
    }
    try:
        check_results(results)
    except ValueError as error:
        raise InputError(f"it has an impossible result ({error})") from error
    folder = run.folder(output)
    if is_complete(folder):
        stored = read_results(folder)
        if stored.get("imported") and stored.get("metrics") == results["metrics"]:
            return False
        raise InputError(f"'{folder}' holds another result already; choose another folder with --output")
    if folder.is_dir() and any(folder.iterdir()):
        raise InputError(f"'{folder}' holds a run without {MARKER}; choose another folder with --output")
    write_results(folder, results)
    return True


def _read(path: Path) -> tuple[dict, float | None]:
    """Metrics of the test images in percent, and the seconds taken, from one log."""
    siblings = [other.name for other in path.parent.glob("log.txt?*")]
    if siblings:
        raise InputError(
            f"ambiguous: {', '.join(sorted(siblings))} beside it; keep only the log of the attempt to import"
        )
    try:
        text = "\n".join(read_file(path).decode().splitlines())
    except (OSError, ValueError) as error:
        raise InputError(f"it cannot be read ({error})") from error
    # Code that also tests on validation images prints before each test which images follow.
    pieces = TEST.split(text)
    tests = [body for name, body in zip(pieces[1::2], pieces[2::2], strict=True) if name == "test"]
    results = [found for body in tests or pieces[:1] if (found := _numbers(body))]
    if not results:
        raise InputError("it has no line '* accuracy: …%' of the test images; the run did not end")
    if any(found != results[0] for found in results):
        raise InputError(f"ambiguous: it has {len(results)} tests with different results")
    took = [timedelta(int(d or 0), int(s), hours=int(h), minutes=int(m)) for d, h, m, s in ELAPSED.findall(text)]
    return results[0], sum(took, timedelta()).total_seconds() if took else None


def _numbers(text: str) -> dict[str, float | int]:
    """The numbers of one test; the accuracy is computed from the counts if they are given, which is exact."""
    found: dict[str, float | int] = {}
    for name, pattern in NUMBERS.items():
        values = set(pattern.findall(text))
        if len(values) > 1:
            raise InputError(f"ambiguous: {len(values)} values of {name} in one test")
        if values:
            number = values.pop().replace(",", "")
            found[name] = int(number) if name in ("total", "correct") else float(number)
    if "accuracy" in found and found.get("total") and "correct" in found:
        exact = 100 * found["correct"] / found["total"]
        if abs(exact - found["accuracy"]) > 0.051:
            raise InputError(f"its accuracy {found['accuracy']} % is not {found['correct']} of {found['total']}")
        found["accuracy"] = exact
    return found if "accuracy" in found else {}
