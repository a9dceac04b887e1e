"""How long runs will take, estimated from the times of finished ones."""

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from statistics import median

from tabulate import tabulate

from runs.folder import MARKER
from runs.results import DamagedError, read_results
from runs.run import ALL_SHOTS, Run, in_order
from sweep.check import Configured
from sweep.options import Options
from sweep.plan import Series
from sweep.progress import in_words

SAMPLES = 12  # finished runs that are read per method


@dataclass(frozen=True)
class Sample:
    """The time of a finished run: seconds that do not depend on the length of its training, and those that do."""

    dataset: str
    shots: int
    epochs: int
    fixed: float
    trained: float

    def seconds(self, shots: int, epochs: int) -> float:
        """The time of a run of another length; the number of steps is proportional to epochs times shots."""
        if ALL_SHOTS in (shots, self.shots):  # which number of images that is, is not known here
            steps, own = epochs, self.epochs
        else:
            steps, own = max(1, shots) * epochs, max(1, self.shots) * self.epochs
        return self.fixed + self.trained * (steps / own if steps and own else 1)


def forecast(
    complete: Sequence[Run], todo: Sequence[Run], options: Options, configured: Mapping[Series, Configured]
) -> str:
    """A table of what would run, one line per series, and the time that one run after the other would take."""
    seconds = estimate(todo, complete, options, configured)
    rows, unknown = [], set()
    members: dict[Series, list[Run]] = {}
    for run in (*complete, *todo):
        members.setdefault(Series.of(run), []).append(run)
    for series, runs in sorted(members.items()):
        left = [run for run in runs if run in seconds]
        known = [seconds[run] for run in left]
        if None in known:
            unknown.add(series.method)
        took = "?" if None in known else in_words(sum(known))
        what = f"K {_listed(run.shots for run in left)}; seeds {_listed(run.seed for run in left)}" if left else ""
        what += f"; folds {_listed(run.fold for run in left)}" if any(run.fold for run in left) else ""
        rows.append([*series, len(runs), len(runs) - len(left), len(left), what, took if left else ""])
    header = ["method", "data set", "protocol", "runs", "complete", "to do", "of these", "time"]
    lines = [tabulate(rows, header, tablefmt="github", disable_numparse=True), ""]
    total = sum(value for value in seconds.values() if value is not None)
    if total:
        least = "at least " if unknown else ""
        lines.append(f"one run after the other: {least}{in_words(total)}, estimated from finished runs")
    if unknown:
        lines.append(f"no finished run to estimate from: {', '.join(sorted(unknown))}")
    return "\n".join(lines)


def estimate(
    todo: Iterable[Run], complete: Iterable[Run], options: Options, configured: Mapping[Series, Configured]
) -> dict[Run, float | None]:
    """Seconds of each run, from finished runs of its method, backbone and protocol; None where there are none.

    Finished runs on the same data set and with the same shots are preferred.
    """
    finished: dict[tuple, list[Run]] = {}
    for run in complete:
        finished.setdefault(_alike(run), []).append(run)
    samples: dict[tuple, list[Sample]] = {}
    seconds: dict[Run, float | None] = {}
    for run in todo:
        key = _alike(run)
        if key not in samples:
            folders = [other.folder(options.output) for other in _some(finished.get(key, []))]
            samples[key] = [sample for sample in map(_read, folders or _elsewhere(run, options)) if sample]
        epochs = configured[Series.of(run)].epochs if run.shots else 0
        near = _nearest(samples[key], run)
        seconds[run] = median(sample.seconds(run.shots, epochs) for sample in near) if near else None
    return seconds


def _alike(run: Run) -> tuple:
    return run.protocol, run.backbone, run.method


def _some(runs: list[Run]) -> list[Run]:
    """At most SAMPLES of the runs, the same ones every time."""
    return runs if len(runs) <= SAMPLES else random.Random(0).sample(runs, SAMPLES)


def _elsewhere(run: Run, options: Options) -> Iterable[Path]:
    """Folders of finished runs that are not in this plan."""
    runs = f"*/{run.backbone}/{run.method}/*shots/seed*"
    found = (Path(options.output, run.protocol).glob(f"{runs}/{place}") for place in (MARKER, f"fold*/{MARKER}"))
    return [marker.parent for marker in islice(chain.from_iterable(found), SAMPLES)]


def _nearest(samples: list[Sample], run: Run) -> list[Sample]:
    for choose in (
        lambda sample: sample.dataset == run.dataset and sample.shots == run.shots,
        lambda sample: sample.dataset == run.dataset,
        lambda sample: sample.shots == run.shots,
    ):
        if near := [sample for sample in samples if choose(sample)]:
            return near
    return samples


def _read(folder: Path) -> Sample | None:
    try:
        results = read_results(folder)
    except DamagedError:
        return None
    took, epochs = results.get("seconds") or {}, len(results.get("loss_per_epoch") or [])
    if "train_and_test" not in took:
        return None
    # The runs of a stack share its time.
    trained, fixed = took["train_and_test"] / took.get("runs_in_stack", 1), took.get("build", 0)
    if not epochs:
        fixed, trained = fixed + trained, 0.0
    return Sample(results["dataset"], results["shots"], epochs, fixed, trained)


def _listed(values: Iterable[int]) -> str:
    return " ".join("all" if value == ALL_SHOTS else str(value) for value in in_order(values))
