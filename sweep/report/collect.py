"""Finds the complete runs of an output folder and reads what a report needs of them."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from runs.folder import MARKER, RESULTS_FILE
from runs.results import decode_results
from runs.run import Run
from sweep.plan import PROTOCOLS, UNTRAINED, run_for

METRICS = ("accuracy", "macro_f1", "ece", "auroc")
NUMBERED = re.compile(r"(\d+)shots|seed(\d+)")


@dataclass(frozen=True)
class Selection:
    """What a report is restricted to; None for everything found."""

    protocols: tuple[str, ...] | None = None
    backbones: tuple[str, ...] | None = None
    datasets: tuple[str, ...] | None = None
    methods: tuple[str, ...] | None = None
    shots: tuple[int, ...] | None = None
    seeds: tuple[int, ...] | None = None

    def takes(self, run: Run) -> bool:
        """Whether a run belongs to it; what learns nothing has neither shots nor seed."""
        asked = [(self.protocols, run.protocol), (self.backbones, run.backbone)]
        asked += [(self.datasets, run.dataset), (self.methods, run.method)]
        if run.method not in UNTRAINED:
            asked += [(self.shots, run.shots), (self.seeds, run.seed)]
        return all(wanted is None or value in wanted for wanted, value in asked)


@dataclass(slots=True)
class Record:
    """A complete run: metrics in percent by the classes they are of ("all", or "base" and "new")."""

    run: Run
    variant: str
    metrics: dict[str, dict[str, float | None]]
    finished: float  # seconds since 1970, of the marker
    seconds: float | None = None  # its share of the machine's time
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
    """The complete runs, the runs that were only started, and what could not be read, with the reason."""

    records: dict[tuple[str, Run], Record] = field(default_factory=dict)  # by variant and run
    started: list[Run] = field(default_factory=list)
    damaged: list[tuple[Run, str]] = field(default_factory=list)


def collect(output: Path, selection: Selection | None = None) -> Collected:
    """Read all complete runs below an output folder that the selection takes.

    In one thread: most of the time goes into decoding, and on a local disk more threads were measured to be slower.
    """
    selection = selection or Selection()
    found, environments = Collected(), {}
    for run, folder in run_folders(output):
        if not selection.takes(run):
            continue
        read = _read(run, folder)
        # What learns nothing may lie at any shots and seed; the numbers are the same.
        cell = run_for(*_words(run))
        if read is None:
            found.started.append(cell)
        elif isinstance(read, str):
            found.damaged.append((cell, f"{os.path.relpath(folder, output)}: {read}"))
        else:
            # Thousands of runs share few environments: kept once.
            read.environment = environments.setdefault(read.environment, read.environment)
            if (read.variant, cell) not in found.records or run == cell:
                found.records[read.variant, cell] = read
            read.run = cell
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


def _words(run: Run) -> tuple:
    return run.protocol, run.dataset, run.backbone, run.method, run.shots, run.seed


def _read(run: Run, folder: str) -> Record | str | None:
    """A run's record; None if it is not complete, or what is wrong with its results."""
    try:
        finished = os.stat(f"{folder}/{MARKER}").st_mtime
    except OSError:
        return None
    try:
        with open(f"{folder}/{RESULTS_FILE}", "rb") as file:
            return _record(run, decode_results(file.read()), finished)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        about = str(error) if not isinstance(error, KeyError) else f"{error} is missing"
        return f"{RESULTS_FILE} cannot be used ({about}); delete the folder to run again"


def _record(run: Run, results: dict, finished: float) -> Record:
    for word in ("protocol", "dataset", "backbone", "method", "seed"):
        if results[word] != getattr(run, word) and not (word == "seed" and run.method in UNTRAINED):
            raise ValueError(f"its {word} is {results[word]}, its folder says {getattr(run, word)}")
    parts = ("all",) if run.protocol == "few_shot" else ("base", "new")
    metrics = {part: {name: _number(results["metrics"][part].get(name)) for name in METRICS} for part in parts}
    if any(values["accuracy"] is None for values in metrics.values()):
        raise ValueError("an accuracy is missing")
    seconds = results.get("seconds") or {}
    share = None
    if "train_and_test" in seconds:
        # Runs side by side shared the time in which they were trained, not that in which they were built.
        share = seconds.get("build", 0) + seconds["train_and_test"] / seconds.get("runs_in_stack", 1)
    return Record(
        run,
        results.get("variant") or "clean",
        metrics,
        finished,
        share,
        results.get("trainable_parameters"),
        tuple(sorted((results.get("environment") or {}).items())),
        (results.get("imported") or {}).get("from", ""),
    )


def _number(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 100:
        raise ValueError(f"{value} is no percentage")
    return float(value)
