"""Times the parts of a run, computed as published and as here: python -m bench

reference: images encoded in every step, prompts and sentences padded to 256 tokens, nothing kept (the published way).
default:   features ahead of the steps in large batches, prompts padded to the longest, three seeds in a stack.
"""

import argparse
import csv
import multiprocessing
import platform
import statistics
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch
from tabulate import tabulate
from tqdm import tqdm

from bench.parts import Bench, achievable_flops, peak_memory, random_model
from dassl.errors import exit_code
from dassl.utils import atomic_path

SHOTS, SEEDS, EPOCHS, CLASSES, BATCH, TEST_IMAGES = (1, 2, 4, 8, 16), 3, 100, 4, 4, 1000


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--path", default="", help="folder of BiomedCLIP's weights (default: random ones are made)")
    parser.add_argument("--dataset", default="phantom", help="a data set of four classes (default: half the phantom)")
    parser.add_argument("--root", default="", help="the data root")
    parser.add_argument("--repeats", type=int, default=3, help="times each part is measured; medians are printed")
    parser.add_argument("--bf16", action="store_true", help="also image features in bf16")
    parser.add_argument("--output", type=Path, default=Path("bench/results"), help="folder of the CSV file")
    parser.add_argument("opts", nargs="*", metavar="KEY VALUE", help="settings of both ways")
    args = parser.parse_intermixed_args(argv)
    return exit_code(lambda: run(args))


def run(args: argparse.Namespace) -> None:
    # A child process inherits the peak memory of its parent: the model is made in another process.
    path = args.path or str(_in_own_process(random_model))
    with tempfile.TemporaryDirectory() as folder:
        memory = {
            way: _in_own_process(
                peak_memory, path, args.dataset, args.root, f"{folder}/memory-{way}", way == "reference"
            )
            for way in ("reference", "default")
        }
        bench = Bench(path, args.dataset, args.root, Path(folder), args.opts)
        measured = _measure(bench, args)
    common = bench.views_in_common(SHOTS, SEEDS)
    rows = _rows(measured, common, args.bf16)
    print(f"\n{_machine(bench.device)}\n")
    shown = [[part, way, f"{value:.4g}", f"{ratio:.1f}"] for part, way, value, ratio in rows]
    print(tabulate(shown, ["part", "way", "seconds", "times faster"], tablefmt="github", disable_numparse=True))
    drawn = f"{SEEDS} seeds x {EPOCHS} epochs x {CLASSES} classes x {'+'.join(map(str, SHOTS))} shots"
    print(
        f"the column: {drawn} in batches of {BATCH}, {TEST_IMAGES} test images; "
        f"{100 * common:.0f} % of the views are those of a run with other shots"
    )
    print(_throughput(bench, measured))
    for way, found in memory.items():
        above = found["above framework"]
        print(
            f"peak memory, {way}: {above:.0f} MB above the framework's own {found['framework']:.0f} MB "
            f"= {above / found['weights']:.2f} x the weights" + (f"; GPU {found['gpu']:.0f} MB" if found["gpu"] else "")
        )
    _write(args.output, bench.device, rows)


def _measure(bench: Bench, args: argparse.Namespace) -> dict[str, float]:
    """Medians of all parts, in seconds; the ways take turns."""
    parts = {
        "teacher reference": bench.teacher_reference,
        "teacher cold": bench.teacher_cold,
        "teacher warm": bench.teacher_warm,
        "step reference": bench.step_reference,
        "view": bench.view,
        "step on features": bench.step_on_features,
        "step of three": bench.step_of_three,
        "text reference": bench.text_reference,
        "text default": bench.text_default,
        "test image reference": bench.test_image_reference,
        "test warm": lambda: bench.test_warm(TEST_IMAGES),
    }
    if args.bf16:
        parts["view bf16"] = lambda: bench.view("bf16")
    for name in ("step reference", "step on features", "step of three", "text default"):
        parts[name]()  # first calls allocate memory
    times: dict[str, list[float]] = {name: [] for name in parts}
    for _ in tqdm(range(args.repeats), desc="measuring", unit="round"):
        for name, work in parts.items():
            times[name].append(work())
    return {name: statistics.median(values) for name, values in times.items()}


def _rows(t: dict[str, float], common: float, bf16: bool) -> list[tuple[str, str, float, float]]:
    """(part, way, seconds, ratio to the reference of the same part)."""
    steps = SEEDS * EPOCHS * sum(max(1, CLASSES * k // BATCH) for k in SHOTS)
    views = steps * BATCH * (1 - common)
    epoch = CLASSES * max(SHOTS) // BATCH
    runs = len(SHOTS) * SEEDS
    once = t["teacher cold"] + TEST_IMAGES * t["view"]  # for the whole column: one teacher, one test set
    each = t["teacher warm"] + t["test warm"]
    column = steps * t["step reference"] + runs * (t["teacher reference"] + TEST_IMAGES * t["test image reference"])
    groups = {
        "teacher features, 200 sentences": {
            "reference": t["teacher reference"], "cold": t["teacher cold"], "warm": t["teacher warm"],
        },
        "training step, batch 4": {
            "reference": t["step reference"],
            "views and step": BATCH * t["view"] + t["step on features"],
            "views and step, three seeds in a stack": BATCH * t["view"] + t["step of three"],
            "step on cached features": t["step on features"],
        },
        "epoch at 16 shots": {
            "reference": epoch * t["step reference"],
            "default": epoch * (BATCH * t["view"] + t["step of three"]),
        },
        "text part of a step": {"reference": t["text reference"], "default": t["text default"]},
        "testing 1,000 images": {
            "reference": TEST_IMAGES * t["test image reference"],
            "cold": TEST_IMAGES * t["view"],
            "warm": t["test warm"],
        },
        "few-shot column, 5 shots x 3 seeds, projected": {
            "reference": column,
            "default": once + runs * each + views * t["view"] + steps * t["step of three"],
            "default, views cached by another method": once + runs * each + steps * t["step of three"],
        },
    }  # fmt: skip
    if bf16:
        groups["few-shot column, 5 shots x 3 seeds, projected"]["bf16 image features"] = (
            t["teacher cold"] + runs * each + (views + TEST_IMAGES) * t["view bf16"] + steps * t["step of three"]
        )
    return [
        (part, way, value, ways["reference"] / value) for part, ways in groups.items() for way, value in ways.items()
    ]


def _throughput(bench: Bench, t: dict[str, float]) -> str:
    flops = bench.flops_per_image()
    lines = []
    for name, dtype in (("view", torch.float32), ("view bf16", torch.bfloat16)):
        if name in t:
            rate, most = flops / t[name], achievable_flops(bench.device, dtype)
            lines.append(
                f"{name}: {1 / t[name]:.2f} images/s, {flops / 1e9:.1f} GFLOP each, {rate / 1e9:.1f} GFLOP/s = "
                f"{100 * rate / most:.0f} % of a large matrix product's {most / 1e9:.1f}"
            )
    return "\n".join(lines)


def _in_own_process(work, *args):
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *args).result()


def _machine(device: torch.device) -> str:
    name = torch.cuda.get_device_name() if device.type == "cuda" else _processor()
    return f"{name}, {torch.get_num_threads()} threads, torch {torch.__version__}, Python {platform.python_version()}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "CPU"


def _write(folder: Path, device: torch.device, rows: list[tuple[str, str, float, float]]) -> None:
    machine = _machine(device)
    name = "".join(c if c.isalnum() else "-" for c in machine.split(",")[0].lower()).strip("-")
    with atomic_path(folder / f"{name}.csv") as temporary, open(temporary, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["machine", "part", "way", "seconds", "times faster than reference"])
        writer.writerows([machine, part, way, f"{value:.5g}", f"{ratio:.2f}"] for part, way, value, ratio in rows)
    print(f"written to '{folder / f'{name}.csv'}'")


if __name__ == "__main__":
    sys.exit(main())
