"""Carries out a plan through Slurm: submitit's job arrays, one job per group; results go through the output folder."""

import argparse
import os
import subprocess
import time
from collections.abc import Collection, Sequence
from dataclasses import replace

from dassl.errors import InputError
from sweep.environment import PROJECT
from sweep.launchers.queue import POLL_SECONDS, Failure, Queue, Task
from sweep.launchers.work import Outcome, work_on
from sweep.plan import stacks
from sweep.progress import Progress
from sweep.run import Run, Settings

try:
    import submitit
    from submitit.core.utils import FailedJobError, UncompletedJobError
except ModuleNotFoundError as error:
    raise InputError(f"--launcher slurm: {error}; pip install -r requirements-slurm.txt") from error

REQUEUES = 20  # after a time-out; a pre-empted job is requeued without a limit
STATUS_SECONDS = 5
LOOK_SECONDS = 30  # between looks for jobs that have vanished


class Work:
    """What a job does; on pre-emption or time-out submitit asks for `checkpoint` and requeues the job."""

    def __call__(self, runs: tuple[Run, ...], settings: Settings, threads: int) -> list[Outcome]:
        import torch

        torch.set_num_threads(threads)
        return work_on(runs, settings)

    def checkpoint(self, *words) -> submitit.helpers.DelayedSubmission:
        """The same again: finished epochs are on disk."""
        return submitit.helpers.DelayedSubmission(self, *words)


def launch(
    args: argparse.Namespace, plan: Sequence[Run], todo: Sequence[Run], settings: Settings, progress: Progress
) -> list[Failure]:
    """Submit what is to do as job arrays and wait for it; see `sweep.launchers.launch`.

    Ctrl-C cancels the jobs; those of a sweep that was killed go on, and the same command waits for them.
    """
    settings = replace(settings, output=settings.output.resolve())
    # Jobs start in the submitter's working directory and with its environment.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(PROJECT), os.environ.get("PYTHONPATH", "")]))
    executor = _executor(args, settings)
    queue = Queue(stacks(todo, args.stack, on_gpu=bool(args.gpus)), settings.output, progress)
    under_way: dict[submitit.Job, Task] = {}
    vanished = Vanished()
    try:
        while not queue.finished:
            under_way |= _submit(executor, queue, settings, args.cpus)
            for job in [job for job in under_way if job.done()]:
                _settle(queue, under_way.pop(job), job)
            for job in vanished.among(under_way) if args.cluster == "slurm" else []:
                queue.lost(under_way.pop(job), f"job {job.job_id} left no result, and Slurm does not know it any more")
            if not queue.finished:
                time.sleep(STATUS_SECONDS if args.cluster == "slurm" else POLL_SECONDS)
    finally:
        for job in under_way:
            job.cancel()
    return queue.failures


class Vanished:
    """Notices jobs that ended without a result on a cluster without accounting, where submitit waits for them for ever.

    A job counts as vanished that was missing at two looks, since results may appear on a shared disk with a delay.
    """

    def __init__(self):
        self._looked = time.monotonic()
        self._missing: set[submitit.Job] = set()

    def among(self, jobs: Collection[submitit.Job]) -> list[submitit.Job]:
        """Those of the jobs that have vanished; asks Slurm at most every LOOK_SECONDS."""
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return []
        self._looked = time.monotonic()
        known = subprocess.run(["squeue", "--me", "-h", "-r", "-o", "%i"], capture_output=True, text=True)
        if known.returncode:  # Slurm itself does not answer
            return []
        ids = set(known.stdout.split())
        before = self._missing
        self._missing = {job for job in jobs if job.job_id not in ids and not job.paths.result_pickle.exists()}
        return [job for job in jobs if job in self._missing & before]


def _submit(executor: submitit.AutoExecutor, queue: Queue, settings: Settings, threads: int) -> dict:
    tasks = list(iter(queue.take, None))
    if not tasks:
        return {}
    jobs = executor.map_array(Work(), [task.runs for task in tasks], [settings] * len(tasks), [threads] * len(tasks))
    return dict(zip(jobs, tasks, strict=True))


def _settle(queue: Queue, task: Task, job: submitit.Job) -> None:
    try:
        queue.settle(task, job.result())
    except (FailedJobError, UncompletedJobError) as error:
        queue.lost(task, f"job {job.job_id} ended without a result ({job.state}): {str(error).strip()}")


def _executor(args: argparse.Namespace, settings: Settings) -> submitit.AutoExecutor:
    folder = settings.output / ".slurm" / "%j"  # a folder per job, or Slurm's files of thousands lie in one
    words = {"slurm_max_num_timeout": REQUEUES} if args.cluster == "slurm" else {}
    try:
        executor = submitit.AutoExecutor(folder=folder, cluster=args.cluster, **words)
        executor.update_parameters(name="sweep", cpus_per_task=args.cpus, slurm_array_parallelism=args.slurm_parallel)
        if args.gpus:
            executor.update_parameters(gpus_per_node=int(args.gpus))
        executor.update_parameters(**{f"slurm_{key}": value for key, value in map(_pair, args.slurm)})
    except (RuntimeError, ValueError, NameError, TypeError) as error:
        raise InputError(f"--launcher slurm: {error}") from error
    return executor


def _pair(text: str) -> tuple[str, str | int]:
    key, found, value = text.partition("=")
    if not (key and found and value):
        raise InputError(f"--slurm {text}: give KEY=VALUE, for example partition=gpu or time=120")
    return key.strip().replace("-", "_"), int(value) if value.isdecimal() else value
