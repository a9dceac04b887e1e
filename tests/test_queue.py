"""The places of workers, the order of tasks, and what follows a task that fails."""

import multiprocessing
from types import SimpleNamespace

import pytest

from runs.lock import RunLock
from runs.run import Run
from sweep.launchers import local
from sweep.launchers.attempt import DONE, FAILED, LOCKED, REFUSED, Outcome
from sweep.launchers.local import places
from sweep.launchers.queue import Queue, Task
from sweep.launchers.worker import Place
from sweep.options import Options
from sweep.progress import Progress
from tests.test_launch import write_finished


def test_places(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    for gpus, words, expected in [
        (0, {}, [("", 2)] * 4),
        (0, {"slots": 1}, [("", 8)]),
        (2, {}, [("0", 4), ("1", 4)]),
        (2, {"per_gpu": 2}, [("0", 2), ("1", 2), ("0", 2), ("1", 2)]),
    ]:
        monkeypatch.setattr("sweep.launchers.local.gpu_count", lambda gpus=gpus: gpus)
        assert [(place.gpu, place.threads) for place in places(10, **words)] == expected
    assert len(places(1)) == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert {place.threads for place in places(1)} == {3}


def seeds(count):
    return tuple(Run("few_shot", "busi", "Tiny", "CoOp", 1, seed) for seed in range(count))


def test_an_interrupt_while_a_worker_starts_is_an_interrupt(tmp_path, monkeypatch):
    chosen = multiprocessing.get_context("spawn")

    class Process(chosen.Process):
        def start(self):
            raise KeyboardInterrupt

    monkeypatch.setattr(local, "context", lambda _: SimpleNamespace(Pipe=chosen.Pipe, Process=Process))
    queue = Queue([seeds(1)], tmp_path, Progress(1))
    with pytest.raises(KeyboardInterrupt):
        local.execute(queue, Options(tmp_path), [Place("", 1)])


def test_a_run_that_ran_out_of_memory_is_tried_again_alone(tmp_path):
    one, two, three = seeds(3)
    queue = Queue([[one], [two], [three]], tmp_path, Progress(3))
    crew = [SimpleNamespace(place=Place(gpu, 1), task=None) for gpu in ("0", "0", "1")]
    first, second, other = crew
    first.task, second.task = local._next(queue, first, crew), local._next(queue, second, crew)
    queue.settle(first.task, [Outcome(one, FAILED, "OutOfMemoryError: CUDA out of memory. Tried to allocate …")])
    first.task = local._next(queue, first, crew)
    assert first.task == Task((three,))  # `two` uses the same GPU, so `one` has to wait
    queue.settle(first.task, [Outcome(three, DONE)])
    assert local._next(queue, first, crew) is None
    other.task = local._next(queue, other, crew)
    assert other.task == Task((one,), 2, alone=True)
    other.task, first.task = None, other.task
    queue.settle(second.task, [Outcome(two, FAILED, "disk")])
    second.task = None
    assert local._next(queue, second, crew) is None  # `one` needs the GPU alone
    assert local._next(queue, other, crew) == Task((two,), 2)


def test_a_failed_run_is_tried_again_alone_and_bad_input_never(tmp_path, capsys):
    one, two, three = runs = seeds(3)
    queue = Queue([runs], tmp_path, Progress(3))
    queue.settle(queue.take(), [Outcome(one, DONE), Outcome(two, FAILED, "disk"), Outcome(three, REFUSED, "bad")])
    assert [queue.take(), queue.take(), queue.take()] == [Task((two,), 2), Task((three,), 1), None]
    queue.lost(Task((two,), 2), "its process died")
    assert not queue.finished
    queue.settle(Task((three,)), [Outcome(three, REFUSED, "bad")])
    assert queue.finished
    assert [(failure.run, failure.message) for failure in queue.failures] == [(two, "its process died"), (three, "bad")]
    assert "3/3 runs, 2 failed" in capsys.readouterr().out


def test_the_queue_waits_for_locked_runs(tmp_path, monkeypatch):
    monkeypatch.setattr("sweep.launchers.queue.POLL_SECONDS", 0)
    one, two = runs = seeds(2)
    locks = [RunLock(run.folder(tmp_path)) for run in runs]
    queue = Queue([runs], tmp_path, Progress(2))
    queue.settle(queue.take(), [Outcome(run, LOCKED) for run in runs])
    assert queue.take() is None
    assert not queue.finished
    write_finished(tmp_path, one)
    for lock in locks:
        lock.release()
    assert queue.take() == Task((two,))
    queue.settle(Task((two,)), [Outcome(two, DONE)])
    assert queue.finished


def test_runs_that_a_dead_process_completed_are_done(tmp_path):
    one, two = runs = seeds(2)
    queue = Queue([runs], tmp_path, Progress(2))
    write_finished(tmp_path, one)
    queue.lost(queue.take(), "its process died")
    assert queue.take() == Task((two,), 2)
