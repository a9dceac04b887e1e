"""Carries out a plan on a Ray cluster, as one task per group; results go through the shared output folder."""

import argparse
import os
import signal
import socket
from collections.abc import Sequence
from dataclasses import replace

from dassl.errors import InputError
from sweep.environment import PROJECT
from sweep.launchers.queue import POLL_SECONDS, Failure, Queue
from sweep.launchers.work import Outcome, work_on
from sweep.plan import stacks
from sweep.progress import Progress
from sweep.run import Run, Settings

try:
    import ray
    from ray.exceptions import RayError
except ModuleNotFoundError as error:
    raise InputError(f"--launcher ray: {error}; pip install -r requirements-ray.txt") from error

CONNECT_SECONDS = 10
RETRIES = 3  # of a task whose worker or node was lost, by Ray, beside the queue's own second attempt


def launch(
    args: argparse.Namespace, plan: Sequence[Run], todo: Sequence[Run], settings: Settings, progress: Progress
) -> list[Failure]:
    """Carry out what is to do on the cluster at --address; see `sweep.launchers.launch`.

    Every node must see the project, the data and the output folder under the same paths, and have the project's Python
    environment. A task takes --gpus GPUs (default: 1 where the cluster has any) and --cpus cores.
    """
    settings = replace(settings, output=settings.output.resolve())
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
    signal.signal(signal.SIGTERM, on_sigterm)  # Ray sets its own
    try:
        gpus = args.gpus if args.gpus is not None else min(1, ray.cluster_resources().get("GPU", 0)) / args.per_gpu
        groups = stacks(todo, args.stack, on_gpu=bool(gpus))
        queue = Queue(groups, settings.output, progress)
        options = {"num_cpus": args.cpus, "num_gpus": gpus, "max_retries": RETRIES}
        _carry_out(queue, settings, args.cpus, ray.remote(**options)(_work))
    finally:
        if owned:
            ray.shutdown()  # tasks that are under way are ended
    return queue.failures


def _refuse_unreachable(address: str) -> None:
    """Where nothing answers at host:port, Ray itself tries for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdecimal():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        raise _no_cluster(address, error) from error


def _no_cluster(address: str, error: Exception) -> InputError:
    return InputError(f"no Ray cluster at --address {address} ({error}); 'ray start --head' makes one")


def _carry_out(queue: Queue, settings: Settings, threads: int, remote) -> None:
    under_way = {}
    while not queue.finished:
        while (task := queue.take()) is not None:
            under_way[remote.remote(task.runs, settings, threads)] = task
        ready, _ = ray.wait(list(under_way), timeout=POLL_SECONDS) if under_way else ([], [])
        for reference in ready:
            task = under_way.pop(reference)
            try:
                queue.settle(task, ray.get(reference))
            except RayError as error:
                queue.lost(task, f"lost by Ray: {type(error).__name__}: {str(error).strip().splitlines()[0]}")


def _work(runs: tuple[Run, ...], settings: Settings, threads: int) -> list[Outcome]:
    """What a Ray worker does; it keeps the backbone for its next task."""
    import torch

    torch.set_num_threads(threads)
    return work_on(runs, settings)
