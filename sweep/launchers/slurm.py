"""Carries out a plan through Slurm: job arrays by submitit, one job per stack; results lie in the output folder."""

import argparse
import os
import subprocess
import time
from collections.abc import Collection, Sequence
from dataclasses import replace

from dassl.errors import InputError
from runs.environment import PROJECT
from runs.run import Run
from sweep.launchers.attempt import Outcome, attempt
from sweep.launchers.queue import POLL_SECONDS, Failure, Queue, Task
from sweep.options import Options
from sweep.plan import stacks
from sweep.progress import Progress

try:
    import submitit
    from submitit.core.utils import FailedJobError, UncompletedJobError
except ModuleNotFoundError as error:
    raise InputError(f"--launcher slurm: {error}; pip install -r requirements-slurm.txt") from error

REQUEUES = 20  # after a time-out; a pre-empted job is requeued any number of times
STATUS_SECONDS = 5
LOOK_SECONDS = 30  # between two looks for jobs that have vanished


class JobFunction:
    """The function of a job; on pre-emption or time-out submitit calls `checkpoint` and requeues the job."""

    def __call__(self, runs: tuple[Run, ...], options: Options, threads: int) -> list[Outcome]:
        import torch

        torch.set_num_threads(threads)
        return attempt(runs, options)

    def checkpoint(self, *arguments) -> submitit.helpers.DelayedSubmission:
        """The same call again, which resumes the runs: finished epochs are on disk."""
        return submitit.helpers.DelayedSubmission(self, *arguments)


def launch(
    args: argparse.Namespace, plan: Sequence[Run], todo: Sequence[Run], options: Options, progress: Progress
) -> list[Failure]:
    """Submit the runs that are to do as job arrays and wait for them; see `sweep.launchers.launch`.

    Ctrl-C cancels the jobs. The jobs of a sweep that was killed go on; the same command waits for their runs.
    """
    options = replace(options, output=options.output.resolve())
    # Jobs start with the working directory and the environment of this process.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(PROJECT), os.environ.get("PYTHONPATH", "")]))
    executor = _executor(args, options)
    queue = Queue(stacks(todo, args.stack, on_gpu=bool(args.gpus)), options.output, progress)
    in_progress: dict[submitit.Job, Task] = {}
    vanished = Vanished()
    try:
        while not queue.finished:
            in_progress |= _submit(executor, queue, options, args.cpus)
            for job in [job for job in in_progress if job.done()]:
                _settle(queue, in_progress.pop(job), job)
            for job in vanished.among(in_progress) if args.cluster == "slurm" else []:
                queue.lost(in_progress.pop(job), f"job {job.job_id} left no result, and Slurm no longer lists it")
            if not queue.finished:
                time.sleep(STATUS_SECONDS if args.cluster == "slurm" else POLL_SECONDS)
    finally:
        for job in in_progress:
            job.cancel()
    return queue.failures


class Vanished:
    """Finds jobs that ended without a result on a cluster without accounting, where submitit would wait for ever.

    A job has vanished if Slurm does not list it at two looks in a row: results may reach a shared disk with a delay.
    """

    def __init__(self):
        self._looked = time.monotonic()
        self._missing: set[submitit.Job] = set()

    def among(self, jobs: Collection[submitit.Job]) -> list[submitit.Job]:
        """The jobs that have vanished; asks Slurm at most every LOOK_SECONDS."""
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


def _submit(executor: submitit.AutoExecutor, queue: Queue, options: Options, threads: int) -> dict:
    tasks = list(iter(queue.take, None))
    if not tasks:
        return {}
    jobs = executor.map_array(
        JobFunction(), [task.runs for task in tasks], [options] * len(tasks), [threads] * len(tasks)
    )
    return dict(zip(jobs, tasks, strict=True))


def _settle(queue: Queue, task: Task, job: submitit.Job) -> None:
    try:
        queue.settle(task, job.result())
    except (FailedJobError, UncompletedJobError) as error:
        queue.lost(task, f"job {job.job_id} ended without a result ({job.state}): {str(error).strip()}")


def _executor(args: argparse.Namespace, options: Options) -> submitit.AutoExecutor:
    folder = options.output / ".slurm" / "%j"  # a folder per job, so that no folder holds thousands of files
    parameters = {f"slurm_{key}": value for key, value in map(_pair, args.slurm)}
    limit = {"slurm_max_num_timeout": REQUEUES} if args.cluster == "slurm" else {}
    try:
        executor = submitit.AutoExecutor(folder=folder, cluster=args.cluster, **limit)
        executor.update_parameters(name="sweep", cpus_per_task=args.cpus, slurm_array_parallelism=args.slurm_parallel)
        if args.gpus:
            executor.update_parameters(gpus_per_node=int(args.gpus))
        executor.update_parameters(**parameters)
    except (RuntimeError, ValueError, NameError, TypeError) as error:
        raise InputError(f"--launcher slurm: {error}") from error
    return executor


def _pair(text: str) -> tuple[str, str | int]:
    key, found, value = text.partition("=")
    if not (key and found and value):
        raise InputError(f"--slurm {text}: give KEY=VALUE, for example partition=gpu or time=120")
    return key.strip().replace("-", "_"), int(value) if value.isdecimal() else value
