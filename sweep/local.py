"""Carries out a plan on this machine: one process per GPU, or a few on the CPU."""

import contextlib
import io
import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from dassl.errors import InputError
from sweep.plan import stacks
from sweep.run import Run, is_complete

MOST_ON_CPU, MOST_ON_GPU = 4, 16
INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class Failure:
    """A run that did not complete, with what it said."""

    run: Run
    message: str


def execute(
    runs: Sequence[Run], output: Path, words: Sequence[str], opts: Sequence[str], slots: int, stack: int = 0
) -> list[Failure]:
    """Carry out the runs that are not complete; returns those that failed, the rest goes on.

    Args:
        runs: the plan.
        output: root of all run folders.
        words: further words of train.py's command line (--root, --published).
        opts: KEY VALUE pairs.
        slots: processes at a time; 0 for one per GPU, or one per two CPU cores and at least two where there are two.
        stack: runs of a method trained side by side in a process; 0 for the seeds of a cell on a CPU, and for up to
            16 seeds and shots on a GPU, whose time per step hardly depends on how many there are.
    """
    todo = [run for run in runs if not is_complete(run.folder(output))]
    _refuse_other_settings(sorted(set(runs) - set(todo)), output, words, opts)
    print(f"{len(runs)} runs, {len(runs) - len(todo)} complete already, {len(todo)} to do")
    if not todo:
        return []
    gpus = _gpu_count()
    groups = stacks(todo, stack or (MOST_ON_GPU if gpus else MOST_ON_CPU), across_shots=bool(gpus))
    slots = min(slots or gpus or max(min(2, os.cpu_count() or 1), (os.cpu_count() or 1) // 2), len(groups))
    context = multiprocessing.get_context("spawn")
    devices = context.Queue()
    for slot in range(slots):
        devices.put(str(slot % gpus) if gpus else "")
    threads = max(1, (os.cpu_count() or 1) // slots)
    failures = []
    with ProcessPoolExecutor(
        slots, context, _start_worker, (devices, threads, multiprocessing.get_start_method())
    ) as pool:
        futures = {pool.submit(_run_group, group, str(output), list(words), list(opts)): group for group in groups}
        progress = tqdm(total=len(todo), desc="runs", unit="run", smoothing=0)
        try:
            for future in as_completed(futures):
                for run, message in zip(futures[future], _outcome(future, len(futures[future])), strict=True):
                    progress.update()
                    if message:
                        failures.append(Failure(run, message))
                        progress.write(f"failed: {run}\n  {message}")
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return failures


def _refuse_other_settings(complete: Sequence[Run], output: Path, words: Sequence[str], opts: Sequence[str]) -> None:
    """A complete run returns at once; one that was made with other settings refuses, and so does the sweep."""
    for run in complete:
        (message,) = _run_group([run], str(output), list(words), list(opts))
        if message:
            raise InputError(message)


def _outcome(future, runs: int) -> list[str]:
    try:
        return future.result()
    except BrokenProcessPool:
        return ["a worker process died (out of memory?); start the same sweep again, finished runs are kept"] * runs


def _gpu_count() -> int:
    import torch

    return torch.cuda.device_count()


def _start_worker(devices, threads: int, start_method: str) -> None:
    """Give the process a GPU of its own, or its share of the cores."""
    # A spawned process would spawn its own loader workers too, each importing torch anew.
    multiprocessing.set_start_method(start_method, force=True)
    device = devices.get()
    if device:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        os.environ["CUDA_VISIBLE_DEVICES"] = visible.split(",")[int(device)] if visible else device
    import torch

    torch.set_num_threads(threads)


def _run_group(runs: list[Run], output: str, words: list[str], opts: list[str]) -> list[str]:
    """Runs side by side in this process; for each "" if it completed, else what was said last.

    What their neighbour's fault stopped is run again alone.
    """
    message = _carry_out(runs, output, words, opts)
    if message not in ("", INTERRUPTED) and len(runs) > 1:
        return [_carry_out([run], output, words, opts) for run in runs]
    return [message] * len(runs)


def _carry_out(runs: list[Run], output: str, words: list[str], opts: list[str]) -> str:
    import train

    said = io.StringIO()
    with contextlib.redirect_stderr(said), open(os.devnull, "w") as silence, contextlib.redirect_stdout(silence):
        try:
            code = train.run_together([train.parse_args(_command(run, output, words, opts)) for run in runs])
        except Exception as error:  # a run's fault must not end the sweep
            return f"{type(error).__name__}: {error}"
    if code == 130:
        return INTERRUPTED
    # What stands before the message is progress of the run.
    return "" if code == 0 else said.getvalue().rpartition("error: ")[2].strip() or f"exit code {code}"


def _command(run: Run, output: str, words: list[str], opts: list[str]) -> list[str]:
    """The run as arguments of train.py."""
    words = ["--trainer", run.method, "--backbone", run.backbone, "--dataset", run.dataset, *words]
    words += ["--protocol", run.protocol, "--shots", str(max(run.shots, 1)), "--seed", str(run.seed)]
    return [*words, "--output-dir", str(run.folder(output)), *opts]
