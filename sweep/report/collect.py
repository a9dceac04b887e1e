"""Finds the complete runs of an output folder and reads what a report needs of their results."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from runs.folder import MARKER, RESULTS_FILE
from runs.results import decode_results
from runs.run import Run
from sweep.plan import PROTOCOLS

METRICS = ("accuracy", "macro_f1", "ece", "auroc")
NUMBERED = re.compile(r"(\d+)shots|seed(\d+)")
VARIANT = re.compile(r"[\w-]+")


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
    """A complete run, with its metrics in percent by part of the classes ("all", or "base" and "new")."""

    run: Run
    variant: str
    metrics: dict[str, dict[str, float | None]]
    finished: float  # when the marker was written, in seconds since 1970
    seconds: float | None = None  # wall time; a run trained in a stack has an equal part of the stack's
    parameters: int | None = None
    environment: tuple[tuple[str, object], ...] = ()
    imported: str = ""

    def environment_value(self, name: str) -> object:
        return dict(self.environment).get(name)

    @property
    def on_gpu(self) -> bool:
        return self.environment_value("device") not in (None, "cpu")


@dataclass
class Collected:
    """The complete runs, the runs that were started but not completed, and the damaged ones with the reason."""

    records: dict[tuple[str, Run], Record] = field(default_factory=dict)  # by variant and run
    started: list[Run] = field(default_factory=list)
    damaged: list[tuple[Run, str]] = field(default_factory=list)

    def runs(self) -> list[Run]:
        """All runs that were found."""
        return [*(run for _, run in self.records), *self.started, *(run for run, _ in self.damaged)]

    def untrained(self) -> frozenset[str]:
        """The methods that learn nothing."""
        return frozenset(run.method for run in self.runs() if learns_nothing(run))


def collect(output: Path, selection: Selection | None = None) -> Collected:
    """Read the selected complete runs of an output folder.

    In one thread: decoding takes most of the time, and more threads were measured to be slower on a local disk.
    """
    selection = selection or Selection()
    found, environments = Collected(), {}
    for run, folder in run_folders(output):
        if not selection.takes(run):
            continue
        read = _read(run, folder)
        if read is None:
            found.started.append(run)
        elif isinstance(read, str):
            found.damaged.append((run, f"{os.path.relpath(folder, output)}: {read}"))
        else:
            # Thousands of runs have only a few different environments: each is kept once.
            read.environment = environments.setdefault(read.environment, read.environment)
            found.records[read.variant, run] = read
    return found


def run_folders(output: Path) -> Iterator[tuple[Run, str]]:
    """Folders <protocol>/<dataset>/<backbone>/<method>/<K>shots/seed<S>, in a fixed order."""
    for protocol in PROTOCOLS:
        for dataset, at_dataset in _folders(os.path.join(output, protocol)):
            for backbone, at_backbone in _folders(at_dataset):
                for method, at_method in _folders(at_backbone):
                    for shots, at_shots in _numbered(at_method, 1):
                        for seed, folder in _numbered(at_shots, 2):
                            yield Run(protocol, dataset, backbone, method, shots, seed), folder


def _folders(path: str) -> list[tuple[str, str]]:
    try:
        with os.scandir(path) as entries:
            return sorted((e.name, e.path) for e in entries if e.is_dir() and not e.name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _numbered(path: str, group: int) -> list[tuple[int, str]]:
    matches = [(NUMBERED.fullmatch(name), folder) for name, folder in _folders(path)]
    return sorted((int(match[group]), folder) for match, folder in matches if match and match[group])


def _read(run: Run, folder: str) -> Record | str | None:
    """The record of a run; None if the run is not complete; the reason, as text, if its results cannot be used."""
    try:
        finished = os.stat(f"{folder}/{MARKER}").st_mtime
    except OSError:
        return None
    try:
        with open(f"{folder}/{RESULTS_FILE}", "rb") as file:
            return _record(run, decode_results(file.read()), finished)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ZeroDivisionError) as error:
        about = str(error) if not isinstance(error, KeyError) else f"{error} is missing"
        return f"{RESULTS_FILE} cannot be used ({about}); delete the folder to run again"


def _record(run: Run, results: dict, finished: float) -> Record:
    for name in ("protocol", "dataset", "backbone", "method", "seed"):
        if results[name] != getattr(run, name):
            raise ValueError(f"its {name} is {results[name]}, its folder says {getattr(run, name)}")
    parts = ("all",) if run.protocol == "few_shot" else ("base", "new")
    metrics = {part: {name: _percentage(results["metrics"][part].get(name)) for name in METRICS} for part in parts}
    if any(values["accuracy"] is None for values in metrics.values()):
        raise ValueError("an accuracy is missing")
    variant = results.get("variant") or "clean"
    if not VARIANT.fullmatch(variant):  # it becomes part of a file name
        raise ValueError(f"'{variant}' is no name of a variant")
    parameters = results.get("trainable_parameters")
    if not isinstance(parameters, int | None):
        raise ValueError(f"{parameters} is no number of parameters")
    environment = (results.get("environment") or {}).items()
    return Record(
        run,
        variant,
        metrics,
        finished,
        _wall_time(results.get("seconds") or {}),
        parameters,
        tuple(sorted((name, value) for name, value in environment if isinstance(value, str | int | float | None))),
        str((results.get("imported") or {}).get("from", "")),
    )


def _wall_time(seconds: dict) -> float | None:
    """Seconds that a run took. The runs of a stack share the time of training, not that of building."""
    if "train_and_test" not in seconds:
        return None
    stack = seconds.get("runs_in_stack", 1)
    return seconds.get("build", 0) + seconds["train_and_test"] / stack


def _percentage(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 100:
        raise ValueError(f"{value} is no percentage")
    return float(value)
