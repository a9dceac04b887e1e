"""How long runs will take, by the times of finished ones."""

import contextlib
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import median

from dassl.errors import InputError
from sweep.check import Configured
from sweep.run import MARKER, Kind, Run, Settings, read_results

SAMPLES = 12  # finished runs that are read per method


@dataclass(frozen=True)
class Sample:
    """What a finished run took: seconds that do not depend on its length, and those that do."""

    dataset: str
    shots: int
    epochs: int
    fixed: float
    trained: float

    def seconds(self, shots: int, epochs: int) -> float:
        """What a run of another length would take: steps are as many as epochs times shots, all else being equal."""
        steps, own = max(1, shots) * epochs, max(1, self.shots) * self.epochs
        return self.fixed + self.trained * (steps / own if steps and own else 1)


def estimate(
    todo: Iterable[Run], complete: Iterable[Run], settings: Settings, configured: Mapping[Kind, Configured]
) -> dict[Run, float | None]:
    """Seconds of each run, by finished runs of its method, backbone and protocol; None where there is none.

    Those on the same data set and with the same shots are preferred.
    """
    finished: dict[tuple, list[Run]] = {}
    for run in complete:
        finished.setdefault(_alike(run), []).append(run)
    samples: dict[tuple, list[Sample]] = {}
    seconds: dict[Run, float | None] = {}
    for run in todo:
        key = _alike(run)
        if key not in samples:
            folders = [other.folder(settings.output) for other in _some(finished.get(key, []))]
            samples[key] = [sample for sample in map(_read, folders or _elsewhere(run, settings)) if sample]
        epochs = configured[run.kind].epochs if run.shots else 0
        near = _nearest(samples[key], run)
        seconds[run] = median(sample.seconds(run.shots, epochs) for sample in near) if near else None
    return seconds


def _alike(run: Run) -> tuple:
    return run.protocol, run.backbone, run.method


def _some(runs: list[Run]) -> list[Run]:
    """A few of many, always the same."""
    return runs if len(runs) <= SAMPLES else random.Random(0).sample(runs, SAMPLES)


def _elsewhere(run: Run, settings: Settings) -> Iterable[Path]:
    """Folders of finished runs that are not of this plan."""
    found = (Path(settings.output) / run.protocol).glob(f"*/{run.backbone}/{run.method}/*shots/seed*/{MARKER}")
    return [marker.parent for marker in islice(found, SAMPLES)]


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
    with contextlib.suppress(InputError, KeyError, TypeError, ValueError, AttributeError):
        results = read_results(folder)
        took, epochs = results["seconds"], len(results.get("loss_per_epoch", []))
        # What was trained side by side shared its time.
        shared = float(took["train_and_test"]) / max(1, int(took.get("runs_side_by_side", 1)))
        fixed = float(took.get("build", 0))
        if not epochs:
            fixed, shared = fixed + shared, 0.0
        return Sample(results["dataset"], int(results["shots"]), epochs, fixed, shared)
    return None
