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
from sweep.run import Run, is_complete


@dataclass(frozen=True)
class Failure:
    """A run that did not complete, with what it said."""

    run: Run
    message: str


def execute(runs: Sequence[Run], output: Path, words: Sequence[str], opts: Sequence[str], slots: int) -> list[Failure]:
    """Carry out the runs that are not complete; returns those that failed, the rest goes on.

    Args:
        runs: the plan.
        output: root of all run folders.
        words: further words of train.py's command line (--root, --published).
        opts: KEY VALUE pairs.
        slots: processes at a time; 0 for one per GPU, or one per two CPU cores and at least two where there are two.
    """
    todo = [run for run in runs if not is_complete(run.folder(output))]
    _refuse_other_settings(sorted(set(runs) - set(todo)), output, words, opts)
    print(f"{len(runs)} runs, {len(runs) - len(todo)} complete already, {len(todo)} to do")
    if not todo:
        return []
    gpus = _gpu_count()
    slots = min(slots or gpus or max(min(2, os.cpu_count() or 1), (os.cpu_count() or 1) // 2), len(todo))
    context = multiprocessing.get_context("spawn")
    devices = context.Queue()
    for slot in range(slots):
        devices.put(str(slot % gpus) if gpus else "")
    threads = max(1, (os.cpu_count() or 1) // slots)
    failures = []
    with ProcessPoolExecutor(
        slots, context, _start_worker, (devices, threads, multiprocessing.get_start_method())
    ) as pool:
        futures = {pool.submit(_run_one, run, str(output), list(words), list(opts)): run for run in todo}
        progress = tqdm(as_completed(futures), total=len(todo), desc="runs", unit="run", smoothing=0)
        try:
            for future in progress:
                run = futures[future]
                message = _outcome(future)
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
        message = _run_one(run, str(output), list(words), list(opts))
        if message:
            raise InputError(message)


def _outcome(future) -> str:
    try:
        return future.result()
    except BrokenProcessPool:
        return "a worker process died (out of memory?); start the same sweep again, finished runs are kept"


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


def _run_one(run: Run, output: str, words: list[str], opts: list[str]) -> str:
    """One run in this process; "" if it completed, else what it said last. Its own words go to its log."""
    import train

    words = ["--trainer", run.method, "--backbone", run.backbone, "--dataset", run.dataset, *words]
    words += ["--protocol", run.protocol, "--shots", str(max(run.shots, 1)), "--seed", str(run.seed)]
    said = io.StringIO()
    with contextlib.redirect_stderr(said), open(os.devnull, "w") as silence, contextlib.redirect_stdout(silence):
        try:
            code = train.main([*words, "--output-dir", str(run.folder(output)), *opts])
        except Exception as error:  # a run's fault must not end the sweep
            return f"{type(error).__name__}: {error}"
    # What stands before the message is progress of the run.
    return "" if code == 0 else said.getvalue().rpartition("error: ")[2].strip() or f"exit code {code}"
