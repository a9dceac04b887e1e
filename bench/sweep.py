"""Times the report and the dry run of 20,000 finished runs: python -m bench.sweep"""

import argparse
import itertools
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tabulate import tabulate

import sweep.__main__
from sweep.check import check
from sweep.plan import make_plan
from sweep.run import MARKER, Run, Settings

METHODS = ("CoOp", "BiomedDPT", *(f"Method{k:02}" for k in range(17)))
BACKBONES, DATASETS, SEEDS = 4, 11, 4
COLUMNS = (("few_shot", (1, 2, 4, 8, 16)), ("base2new", (16,)))
CLASSES, EPOCHS = 8, 100
ALL = "md,csv,tex,html,png,pdf"
# Unchanged curves are kept.
REPORTS = (("tables, no curves", "md,csv,tex"), ("all formats, curves drawn", ALL), ("all formats, curves kept", ALL))
PLANNED_SEEDS = 22


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.sweep", description=__doc__)
    parser.add_argument("--backbones", type=int, default=BACKBONES, help="sections of 5,016 runs each (default: 4)")
    parser.add_argument("--seeds", type=int, default=PLANNED_SEEDS, help="of the dry run, 936 runs each (default: 22)")
    args = parser.parse_args(argv)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        count = make_tree(Path(folder), args.backbones)
        for name, formats in REPORTS:
            rows.append(_timed(f"report, {name}", count, ["report", folder, "--formats", formats]))
    with tempfile.TemporaryDirectory() as folder:
        words = ["--root", folder, "--output", folder, "--datasets", "all", "--methods", "all"]
        words += ["--backbone", "BiomedCLIP", "--seeds", ",".join(map(str, range(1, args.seeds + 1)))]
        count = make_finished(words)
        rows.append(_timed("run --dry-run", count, ["run", "--dry-run", *words]))
    print(f"{os.cpu_count()} cores")
    header = ["python -m sweep …", "finished runs", "seconds", "peak memory so far in MB"]
    print(tabulate(rows, header, disable_numparse=True))
    return 0


def _timed(name: str, count: int, words: list[str]) -> list[str]:
    started = time.time()
    subprocess.run([sys.executable, "-m", "sweep", *words], check=True, stdout=subprocess.DEVNULL)
    took, memory = time.time() - started, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return [name, f"{count:,}", f"{took:.1f}", f"{memory / 1024:.0f}"]


def make_tree(output: Path, backbones: int) -> int:
    """Write results of the size that runs write, 19 methods x 11 data sets x 6 columns x 4 seeds per backbone."""
    runs = list(_runs(backbones))
    for run in runs:
        _finish(run, run.folder(output))
    os.sync()  # or the disk is still busy when the clock runs
    return len(runs)


def make_finished(words: list[str]) -> int:
    """Write results and settings of every run of a command line, as if all had been run; returns how many."""
    args = sweep.__main__.build_parser()[1].choices["run"].parse_intermixed_args(words)
    plan = [run for axes in sweep.__main__.grids_of(args) for run in make_plan(*axes)]
    configured = check(plan, Settings(args.output, args.root))
    for run in plan:
        folder = run.folder(args.output)
        _finish(run, folder)
        (folder / "config.yaml").write_text(configured[run.kind].of(run, str(folder)))
    os.sync()
    return len(plan)


def _finish(run: Run, folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "results.json").write_text(_results(run))
    (folder / MARKER).touch()


def _runs(backbones: int) -> Iterator[Run]:
    for protocol, shots in COLUMNS:
        datasets, names = (f"dataset{k:02}" for k in range(DATASETS)), [f"Backbone{k}" for k in range(backbones)]
        for words in itertools.product([protocol], datasets, names, METHODS, shots, range(1, SEEDS + 1)):
            yield Run(*words)


def _results(run: Run) -> str:
    draw = random.Random(repr(run)).uniform
    parts = ("all",) if run.protocol == "few_shot" else ("base", "new")
    metrics: dict = {
        part: {
            "accuracy": draw(50, 90),
            "macro_f1": draw(50, 90),
            "auroc": draw(50, 90),
            "ece": draw(0, 20),
            "per_class_accuracy": {f"class {k} of these": draw(0, 100) for k in range(CLASSES)},
        }
        for part in parts
    }
    results = {
        **run.as_dict(),
        "variant": "clean",
        "metrics": metrics,
        "learned_parameters": 512,
        "loss_per_epoch": [round(draw(0, 1), 6) for _ in range(EPOCHS)],
        "seconds": {"build": 1.0, "train_and_test": 9.0, "runs_side_by_side": 3},
        "environment": {"torch": "2.14.1", "device": "cpu", "git_commit": 10 * "abcd", "git_changed_files": 0},
    }
    return json.dumps(results, indent=2)


if __name__ == "__main__":
    sys.exit(main())
