"""Finds the complete runs of an output folder and reads what a report needs of their results."""

import os
import re
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from dassl.errors import printable
from runs.folder import CONFIG_FILE, MARKER, RESULTS_FILE
from runs.results import decode_results, read_file
from runs.results_check import METRICS, PER_CLASS
from runs.run import ALL_SHOTS, Run
from sweep.plan import PROTOCOLS

# Nine digits are more than any number of a run has, and are fast to compare.
SHOTS = re.compile(r"(all|0|[1-9][0-9]{0,8})shots")
SEED = re.compile(r"seed(0|[1-9][0-9]{0,8})")
FOLD = re.compile(r"fold([1-9][0-9]{0,8})")
NUMBERS = (*METRICS, "brier", "auroc_low", "auroc_high")  # what a record has of each part of the classes
Marker = os.stat_result | OSError | None  # the marker of a complete run, why it cannot be read, or None


@dataclass(frozen=True)
class Selection:
    """What a report is restricted to; None takes everything."""

    protocols: tuple[str, ...] | None = None
    backbones: tuple[str, ...] | None = None
    datasets: tuple[str, ...] | None = None
    methods: tuple[str, ...] | None = None
    shots: tuple[int, ...] | None = None
    seeds: tuple[int, ...] | None = None

    def takes(self, run: Run) -> bool:
        """Whether the run is selected. A method that learns nothing has neither shots nor seeds to select by."""
        asked = [(self.protocols, run.protocol), (self.backbones, run.backbone)]
        asked += [(self.datasets, run.dataset), (self.methods, run.method)]
        if not learns_nothing(run):
            asked += [(self.shots, run.shots), (self.seeds, run.seed)]
        return all(wanted is None or value in wanted for wanted, value in asked)


def learns_nothing(run: Run) -> bool:
    """Whether the run is of a method that learns nothing: its folder is `0shots`."""
    return run.shots == 0


@dataclass(slots=True)
class Record:
    """A complete run, with its numbers by part of the classes ("all", or "base" and "new").

    Attributes:
        metrics: `NUMBERS` of each part, in percent, but for the Brier score.
        per_class: sensitivity and specificity of each part by class, in percent.
        confusion: the confusion matrix of each part, where it was asked for.
        memory: the peak memory in bytes, and of what.
        sentences: the digest of the prompt file that was read; "" for none.
    """

    run: Run
    folds: int  # of the cross-validation that the run belongs to; 0 without one
    variant: str
    metrics: dict[str, dict[str, float | None]]
    finished: float  # when the marker was written, in seconds since 1970
    seconds: float | None = None  # wall time; a run trained in a stack has an equal part of the stack's
    parameters: int | None = None
    environment: tuple[tuple[str, object], ...] = ()
    imported: str = ""
    per_class: dict[str, dict[str, dict[str, float | None]]] = field(default_factory=dict)
    confusion: dict[str, list[list[int]]] = field(default_factory=dict)
    memory: tuple[int, str] | None = None
    sentences: str = ""

    def environment_value(self, name: str) -> object:
        return dict(self.environment).get(name)

    @property
    def on_gpu(self) -> bool:
        return self.environment_value("device") not in (None, "cpu")


@dataclass
class Collected:
    """What an output folder holds.

    Attributes:
        records: the complete runs, by variant and run.
        started: the runs that are not complete.
        untested: the complete runs that were not tested (TEST.NO_TEST).
        damaged: the runs with a file that cannot be used.
        problems: a line for each damaged run and each folder that cannot be read, with the reason.
    """

    records: dict[tuple[str, Run], Record] = field(default_factory=dict)
    started: list[Run] = field(default_factory=list)
    untested: list[Run] = field(default_factory=list)
    damaged: list[Run] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def without_result(self) -> list[Run]:
        """The runs that were found and have no numbers."""
        return [*self.started, *self.untested, *self.damaged]

    def untrained(self) -> frozenset[str]:
        """The methods that learn nothing."""
        runs = [*(run for _, run in self.records), *self.without_result()]
        return frozenset(run.method for run in runs if learns_nothing(run))


def collect(output: Path, selection: Selection | None = None, confusion: bool = False) -> Collected:
    """Read the selected complete runs of an output folder, with their confusion matrices where they are asked for.

    In one thread: decoding takes most of the time, and more threads were measured to be slower on a local disk.
    """
    selection = selection or Selection()
    chosen = selection != Selection()
    found, environments = Collected(), {}

    def problem(path: str, reason: object) -> None:
        found.problems.append(printable(f"{os.path.relpath(path, output)}: {reason}", keep=""))

    for run, folder, marker in run_folders(output, problem):
        if chosen and not selection.takes(run):
            continue
        if marker is None:
            found.started.append(run)
            continue
        try:
            record = _read(run, folder, marker, confusion)
        except (OSError, ValueError) as error:
            found.damaged.append(run)
            reason = error.strerror if isinstance(error, OSError) else error
            problem(folder, f"{RESULTS_FILE} cannot be used ({reason}); delete the folder to run again")
        else:
            # Thousands of runs have only a few different environments: each is kept once.
            record.environment = environments.setdefault(record.environment, record.environment)
            if record.metrics:
                found.records[record.variant, run] = record
            else:
                found.untested.append(run)
    return found


def run_folders(output: Path, problem: Callable[[str, object], None]) -> Iterator[tuple[Run, str, Marker]]:
    """Folders <protocol>/<dataset>/<backbone>/<method>/<K>shots/seed<S>, and fold<k> below them, in a fixed order.

    Args:
        output: root of the run folders.
        problem: is told of every folder that cannot be read.
    """
    for protocol in PROTOCOLS:
        for dataset, at_dataset in _folders(os.path.join(output, protocol), problem):
            for backbone, at_backbone in _folders(at_dataset, problem):
                for method, at_method in _folders(at_backbone, problem):
                    for shots, at_shots in _numbered(at_method, SHOTS, problem):
                        for seed, folder in _numbered(at_shots, SEED, problem):
                            run, marker = Run(protocol, dataset, backbone, method, shots, seed), _marker(folder)
                            folds = []
                            # Beside a complete run only the first fold is looked for: a listing takes longer.
                            if marker is None or os.path.isdir(f"{folder}/fold1"):
                                folds = _numbered(folder, FOLD, problem)
                            if marker is not None or not folds or os.path.isfile(f"{folder}/{CONFIG_FILE}"):
                                yield run, folder, marker
                            for fold, at_fold in folds:
                                yield replace(run, fold=fold), at_fold, _marker(at_fold)


def _marker(folder: str) -> Marker:
    try:
        return os.stat(f"{folder}/{MARKER}")
    except FileNotFoundError:
        return None
    except OSError as error:
        return error


def _folders(path: str, problem: Callable[[str, object], None]) -> list[tuple[str, str]]:
    try:
        with os.scandir(path) as entries:
            return sorted((e.name, e.path) for e in entries if not e.name.startswith(".") and _is_folder(e))
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        problem(path, error.strerror)
    return []


def _is_folder(entry: os.DirEntry) -> bool:
    # A link in a circle is an error to DirEntry.is_dir.
    return entry.is_dir(follow_symlinks=False) or (entry.is_symlink() and os.path.isdir(entry.path))


def _numbered(path: str, pattern: re.Pattern, problem: Callable[[str, object], None]) -> list[tuple[int, str]]:
    matches = [(pattern.fullmatch(name), folder) for name, folder in _folders(path, problem)]
    return sorted((ALL_SHOTS if match[1] == "all" else int(match[1]), folder) for match, folder in matches if match)


def _read(run: Run, folder: str, marker: os.stat_result | OSError, confusion: bool) -> Record:
    """The record of a run with a marker.

    Raises:
        OSError, ValueError: its results cannot be used.
    """
    if isinstance(marker, OSError):
        raise marker
    if not stat.S_ISREG(marker.st_mode):
        raise ValueError(f"{MARKER} is no file")
    results = decode_results(read_file(f"{folder}/{RESULTS_FILE}"))
    for name in ("protocol", "dataset", "backbone", "method", "seed"):
        if results[name] != getattr(run, name):
            raise ValueError(f"its {name} is {str(results[name])[:100]}, its folder says {getattr(run, name)}")
    if results["shots"] not in (run.shots, 0):  # 0: a method that learns nothing, in a folder that a user chose
        raise ValueError(f"it has {results['shots']} shots, its folder says {run.shots}")
    if (fold := results.get("fold") or 0) != run.fold:
        raise ValueError(f"its fold is {fold}, its folder says {run.fold}")
    tested = results["metrics"]
    parts = ("all",) if run.protocol == "few_shot" else ("base", "new")
    if tested and (missing := [part for part in parts if part not in tested]):
        raise ValueError(f"it has no numbers of the part '{missing[0]}' of the classes")
    environment = (results.get("environment") or {}).items()
    return Record(
        run,
        results["folds"] if fold else 0,
        results.get("variant") or "clean",
        {part: _numbers(tested[part]) for part in parts} if tested else {},
        marker.st_mtime,
        _wall_time(results.get("seconds") or {}),
        results.get("trainable_parameters"),
        tuple(sorted((name, value) for name, value in environment if isinstance(value, str | int | float | None))),
        (results.get("imported") or {}).get("from") or "",
        {part: {name: tested[part].get(name) or {} for name in PER_CLASS} for part in parts} if tested else {},
        {part: tested[part].get("confusion_matrix") or [] for part in parts} if tested and confusion else {},
        _memory(results.get("memory") or {}),
        (results.get("prompts") or {}).get("digest") or "",
    )


def _numbers(metrics: dict) -> dict[str, float | None]:
    low, high = metrics.get("auroc_interval") or (None, None)
    values = {**metrics, "auroc_low": low, "auroc_high": high}
    return {name: value if (value := values.get(name)) is None else float(value) for name in NUMBERS}


def _memory(stated: dict) -> tuple[int, str] | None:
    return (stated["peak_bytes"], stated["of"]) if {"peak_bytes", "of"} <= stated.keys() else None


def _wall_time(seconds: dict) -> float | None:
    """Seconds that a run took. The runs of a stack share the time of training, not that of building."""
    if "train_and_test" not in seconds:
        return None
    return seconds.get("build", 0) + seconds["train_and_test"] / seconds.get("runs_in_stack", 1)
