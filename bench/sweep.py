"""Times the report and the dry run over 20,000 finished runs: python -m bench.sweep"""

import argparse
import itertools
import json
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tabulate import tabulate

import sweep.__main__
from runs.folder import MARKER
from runs.run import Run
from sweep.arguments import grids_and_options
from sweep.check import check
from sweep.plan import Series, make_plan

METHODS = ("CoOp", "BiomedDPT", *(f"Method{k:02}" for k in range(17)))
BACKBONES, DATASETS, SEEDS = 4, 11, 4
COLUMNS = (("few_shot", (1, 2, 4, 8, 16)), ("base2new", (16,)))
CLASSES, EPOCHS = 8, 100
ALL = "md,csv,tex,html,png,pdf"
# Unchanged curves are kept, where the report's folder stays.
REPORTS = (
    ("tables, no curves", "md,csv,tex", False),
    ("all formats, curves drawn", ALL, False),
    ("all formats, curves kept", ALL, True),
)
PLANNED_SEEDS = 22


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.sweep", description=__doc__)
    parser.add_argument("--backbones", type=int, default=BACKBONES, help="sections of 5,016 runs each (default: 4)")
    parser.add_argument("--seeds", type=int, default=PLANNED_SEEDS, help="of the dry run, 936 runs each (default: 22)")
    parser.add_argument("--repeats", type=int, default=3, help="times each is measured; medians are printed")
    args = parser.parse_args(argv)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        count = make_tree(Path(folder), args.backbones)
        for name, formats, kept in REPORTS:
            again = None if kept else Path(folder, "report")
            words = ["report", folder, "--formats", formats]
            rows.append(_timed(f"report, {name}", count, words, args.repeats, again))
    with tempfile.TemporaryDirectory() as folder:
        words = ["--root", folder, "--output", folder, "--datasets", "all", "--methods", "all"]
        words += ["--backbone", "BiomedCLIP", "--seeds", ",".join(map(str, range(1, args.seeds + 1)))]
        count = make_finished(words)
        rows.append(_timed("run --dry-run", count, ["run", "--dry-run", *words], args.repeats))
    print(f"{os.cpu_count()} cores")
    header = ["python -m sweep …", "finished runs", "seconds", "range", "peak memory so far in MB"]
    print(tabulate(rows, header, disable_numparse=True))
    return 0


def _timed(name: str, count: int, words: list[str], repeats: int, remove: Path | None = None) -> list[str]:
    """Median and range of a command's seconds; before each time a folder is removed, if there is one to remove."""
    seconds = []
    for _ in range(repeats):
        if remove is not None:
            shutil.rmtree(remove, ignore_errors=True)
        started = time.time()
        subprocess.run([sys.executable, "-m", "sweep", *words], check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.time() - started)
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    about = f"{min(seconds):.1f} to {max(seconds):.1f}"
    return [name, f"{count:,}", f"{statistics.median(seconds):.1f}", about, f"{memory:.0f}"]


def make_tree(output: Path, backbones: int) -> int:
    """Write results of the size that runs write, 19 methods x 11 data sets x 6 columns x 4 seeds per backbone."""
    runs = list(_runs(backbones))
    for run in runs:
        _finish(run, run.folder(output))
    os.sync()  # otherwise the disk is still busy during the measurement
    return len(runs)


def make_finished(words: list[str]) -> int:
    """Write the results of every run of a command line, as if all had been run; returns how many."""
    args = sweep.__main__.build_parser()[1].choices["run"].parse_intermixed_args(words)
    grids, options = grids_and_options(args)
    plan = [run for axes in grids for run in make_plan(*axes)]
    configured = check(plan, options)
    for run in plan:
        digest = configured[Series.of(run)].settings_of(run).digest
        _finish(run, run.folder(options.output), digest)
    os.sync()
    return len(plan)


def _finish(run: Run, folder: Path, digest: str = "") -> None:
    folder.mkdir(parents=True)
    (folder / "results.json").write_text(_results(run, digest))
    (folder / MARKER).touch()


def _runs(backbones: int) -> Iterator[Run]:
    for protocol, shots in COLUMNS:
        datasets, names = (f"dataset{k:02}" for k in range(DATASETS)), [f"Backbone{k}" for k in range(backbones)]
        for words in itertools.product([protocol], datasets, names, METHODS, shots, range(1, SEEDS + 1)):
            yield Run(*words)


def _results(run: Run, digest: str) -> str:
    draw = random.Random(repr(run)).uniform
    parts = ("all",) if run.protocol == "few_shot" else ("base", "new")
    names = [f"class {k} of these" for k in range(CLASSES // len(parts))]
    metrics: dict = {
        part: {
            "total": 384,
            "correct": 259,
            "accuracy": draw(50, 90),
            "macro_f1": draw(50, 90),
            "balanced_accuracy": round(draw(50, 90), 6),
            "auroc": draw(50, 90),
            "auroc_interval": [round(draw(40, 50), 6), round(draw(90, 100), 6)],
            "ece": draw(0, 20),
            "brier": round(draw(0, 2), 6),
            "sensitivity": {name: round(draw(0, 100), 6) for name in names},
            "specificity": {name: round(draw(0, 100), 6) for name in names},
            "confusion_matrix": [[int(draw(0, 48)) for _ in names] for _ in names],
        }
        for part in parts
    }
    results = {
        **run.as_dict(),
        "variant": "clean",
        "metrics": metrics,
        "trainable_parameters": 512,
        "settings_digest": digest,
        "loss_per_epoch": [round(draw(0, 1), 6) for _ in range(EPOCHS)],
        "seconds": {"build": 1.0, "train_and_test": 9.0, "runs_in_stack": 3},
        "memory": {"peak_bytes": 998920192, "of": "process"},
        "environment": {"torch": "2.14.1", "device": "cpu", "git_commit": 10 * "abcd", "git_changed_files": 0},
    }
    return json.dumps(results, indent=2)


if __name__ == "__main__":
    sys.exit(main())
