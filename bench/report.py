"""Times the report of 20,000 finished runs: python -m bench.report"""

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

METHODS = ("CoOp", "BiomedDPT", *(f"Method{k:02}" for k in range(17)))
BACKBONES, DATASETS, SEEDS = 4, 11, 4
COLUMNS = (("few_shot", (1, 2, 4, 8, 16)), ("base2new", (16,)))
CLASSES, EPOCHS = 8, 100
ALL = "md,csv,tex,html,png,pdf"
# Most of the time goes into the curves, of which unchanged ones are kept.
WAYS = (("tables, no curves", "md,csv,tex"), ("everything, curves drawn", ALL), ("everything, curves kept", ALL))


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.report", description=__doc__)
    parser.add_argument("--backbones", type=int, default=BACKBONES, help="sections of 5,016 runs each (default: 4)")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        started = time.time()
        count = make_tree(Path(folder), args.backbones)
        print(f"{count} results made in {time.time() - started:.1f} s; {os.cpu_count()} cores")
        rows = []
        for name, formats in WAYS:
            words = [sys.executable, "-m", "sweep", "report", folder, "--formats", formats]
            before, started = _children(), time.time()
            subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
            took, after = time.time() - started, _children()
            rows.append([name, f"{took:.1f}", f"{after[0] - before[0]:.1f}", f"{after[1]:.0f}"])
    header = ["report", "seconds", "of processors", "peak memory so far in MB"]
    print(tabulate(rows, header, disable_numparse=True))
    return 0


def _children() -> tuple[float, float]:
    """Processor seconds of the processes started so far, and the memory of the largest in MB."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def make_tree(output: Path, backbones: int) -> int:
    """Write results of the size that runs write, 19 methods x 11 data sets x 6 columns x 4 seeds per backbone."""
    count = 0
    for run in _runs(backbones):
        protocol, dataset, backbone, method, shots, seed = run
        folder = output / protocol / dataset / backbone / method / f"{shots}shots" / f"seed{seed}"
        folder.mkdir(parents=True)
        (folder / "results.json").write_text(_results(run))
        (folder / "COMPLETE").touch()
        count += 1
    return count


def _runs(backbones: int) -> Iterator[tuple]:
    for protocol, shots in COLUMNS:
        datasets, names = (f"dataset{k:02}" for k in range(DATASETS)), [f"Backbone{k}" for k in range(backbones)]
        yield from itertools.product([protocol], datasets, names, METHODS, shots, range(1, SEEDS + 1))


def _results(run: tuple) -> str:
    draw = random.Random(repr(run)).uniform
    parts = ("all",) if run[0] == "few_shot" else ("base", "new")
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
    words = dict(zip(("protocol", "dataset", "backbone", "method", "shots", "seed"), run, strict=True))
    results = {
        **words,
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
