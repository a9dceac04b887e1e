"""Carries out a plan on a Ray cluster, one Ray task per stack; results lie in the shared output folder."""

import argparse
import os
import signal
import socket
from collections.abc import Sequence
from dataclasses import replace

from dassl.errors import InputError
from runs.environment import PROJECT
from runs.run import Run
from sweep.launchers.attempt import Outcome, attempt
from sweep.launchers.queue import POLL_SECONDS, Failure, Queue
from sweep.options import Options
from sweep.plan import stacks
from sweep.progress import Progress

try:
    import ray
    from ray.exceptions import RayError
except ModuleNotFoundError as error:
    raise InputError(f"--launcher ray: {error}; pip install -r requirements-ray.txt") from error

CONNECT_SECONDS = 10
RETRIES = 3  # Ray's own, of a task whose worker or node was lost; the queue makes a second attempt besides


def launch(
    args: argparse.Namespace, plan: Sequence[Run], todo: Sequence[Run], options: Options, progress: Progress
) -> list[Failure]:
    """Carry out the runs that are to do on a Ray cluster, at --address; see `sweep.launchers.launch`.

    Every node must see the project, the data and the output folder under the same paths, and have the project's Python
    environment. A task takes --gpus GPUs (default: 1 where the cluster has any) and --cpus cores.
    """
    options = replace(options, output=options.output.resolve())
    _refuse_unreachable(args.address)
    owned, on_sigterm = not ray.is_initialized(), signal.getsignal(signal.SIGTERM)
    try:
        path = os.pathsep.join(filter(None, [str(PROJECT), os.environ.get("PYTHONPATH", "")]))
        variables = {"PYTHONPATH": path, "OMP_NUM_THREADS": str(args.cpus)}
        ray.init(
            address=args.address, ignore_reinit_error=True, log_to_driver=False, runtime_env={"env_vars": variables}
        )
    except (ConnectionError, RayError, RuntimeError, ValueError) as error:
        raise _no_cluster(args.address, error) from error
    signal.signal(signal.SIGTERM, on_sigterm)  # Ray sets a handler of its own
    try:
        gpus = args.gpus if args.gpus is not None else min(1, ray.cluster_resources().get("GPU", 0)) / args.per_gpu
        queue = Queue(stacks(todo, args.stack, on_gpu=bool(gpus)), options.output, progress)
        resources = {"num_cpus": args.cpus, "num_gpus": gpus, "max_retries": RETRIES}
        _carry_out(queue, options, args.cpus, ray.remote(**resources)(_work))
    finally:
        if owned:
            ray.shutdown()  # ends the tasks that are in progress
    return queue.failures


def _refuse_unreachable(address: str) -> None:
    """Refuse an address where nothing answers; Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdecimal():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        raise _no_cluster(address, error) from error


def _no_cluster(address: str, error: Exception) -> InputError:
    return InputError(f"no Ray cluster at --address {address} ({error}); 'ray start --head' makes one")


def _carry_out(queue: Queue, options: Options, threads: int, remote) -> None:
    in_progress = {}
    while not queue.finished:
        while (task := queue.take()) is not None:
            in_progress[remote.remote(task.runs, options, threads)] = task
        ready, _ = ray.wait(list(in_progress), timeout=POLL_SECONDS) if in_progress else ([], [])
        for reference in ready:
            task = in_progress.pop(reference)
            try:
                queue.settle(task, ray.get(reference))
            except RayError as error:
                queue.lost(task, f"lost by Ray: {type(error).__name__}: {str(error).strip().splitlines()[0]}")


def _work(runs: tuple[Run, ...], options: Options, threads: int) -> list[Outcome]:
    """The task of a Ray worker, whose process keeps the backbone for its next task."""
    import torch

    torch.set_num_threads(threads)
    return attempt(runs, options)
