"""Where workers compute, which task they get next, and what becomes of tasks that fail."""

import multiprocessing
from types import SimpleNamespace

import pytest

from sweep.claims import Claim
from sweep.launchers import local
from sweep.launchers.local import places
from sweep.launchers.queue import Queue, Task
from sweep.launchers.work import CLAIMED, DONE, FAILED, REFUSED, Outcome
from sweep.launchers.worker import Place
from sweep.progress import Progress
from sweep.run import Run, Settings
from tests.test_launch import finished


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
        local.execute(queue, Settings(tmp_path), [Place("", 1)])


def test_what_ran_out_of_memory_is_tried_again_with_the_memory_for_itself(tmp_path):
    one, two, three = seeds(3)
    queue = Queue([[one], [two], [three]], tmp_path, Progress(3))
    crew = [SimpleNamespace(place=Place(gpu, 1), task=None) for gpu in ("0", "0", "1")]
    first, second, other = crew
    first.task, second.task = local._next(queue, first, crew), local._next(queue, second, crew)
    queue.settle(first.task, [Outcome(one, FAILED, "OutOfMemoryError: CUDA out of memory. Tried to allocate …")])
    first.task = local._next(queue, first, crew)
    assert first.task == Task((three,))  # beside `two` on its GPU: the others go on
    queue.settle(first.task, [Outcome(three, DONE)])
    assert local._next(queue, first, crew) is None
    other.task = local._next(queue, other, crew)
    assert other.task == Task((one,), 2, alone=True)
    other.task, first.task = None, other.task
    queue.settle(second.task, [Outcome(two, FAILED, "disk")])
    second.task = None
    assert local._next(queue, second, crew) is None  # `one` has the GPU for itself
    assert local._next(queue, other, crew) == Task((two,), 2)


def test_queue_tries_a_fault_once_more_alone_and_bad_input_never(tmp_path, capsys):
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


def test_queue_waits_for_what_others_work_on(tmp_path, monkeypatch):
    monkeypatch.setattr("sweep.launchers.queue.POLL_SECONDS", 0)
    one, two = runs = seeds(2)
    claims = [Claim(run.folder(tmp_path)) for run in runs]
    queue = Queue([runs], tmp_path, Progress(2))
    queue.settle(queue.take(), [Outcome(run, CLAIMED) for run in runs])
    assert queue.take() is None
    assert not queue.finished
    finished(tmp_path, one)
    for claim in claims:
        claim.release()
    assert queue.take() == Task((two,))
    queue.settle(Task((two,)), [Outcome(two, DONE)])
    assert queue.finished


def test_queue_believes_the_disk_of_a_process_that_died(tmp_path):
    one, two = runs = seeds(2)
    queue = Queue([runs], tmp_path, Progress(2))
    finished(tmp_path, one)
    queue.lost(queue.take(), "its process died")
    assert queue.take() == Task((two,), 2)
