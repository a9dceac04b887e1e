"""Sweeps through submitit without Slurm, here and as jobs on this machine; scripts/check_slurm.sh runs a Slurm."""

from types import SimpleNamespace

import pytest

from runs.folder import MARKER
from sweep.__main__ import main
from sweep.options import Options
from sweep.plan import run_for
from tests import faults

submitit = pytest.importorskip("submitit", reason="submitit is not installed (requirements-slurm.txt)")


@pytest.fixture(scope="module")
def words(few_images):
    words = ["run", "--root", str(few_images), "--methods", "ZeroShot,CoOp", "--shots", "1", "--seeds", "1,2"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield [*words, "OPTIM.MAX_EPOCH", "2"]


@pytest.fixture(scope="module")
def local(words, tmp_path_factory):
    """The numbers of the sweep on this machine."""
    output = tmp_path_factory.mktemp("local")
    assert main([*words, "--output", str(output)]) == 0
    return faults.numbers(output)


@pytest.mark.parametrize("cluster", ["debug", "local"])
def test_a_sweep_through_submitit_equals_a_local_one(words, local, tmp_path, capsys, cluster):
    output = tmp_path / "jobs"
    assert main([*words, "--launcher", "slurm", "--cluster", cluster, "--output", str(output)]) == 0
    assert "3/3 runs" in capsys.readouterr().out
    assert faults.numbers(output) == local
    assert len(list(output.rglob(MARKER))) == len(list(output.rglob("log.txt"))) == 3


def test_a_run_with_bad_input_is_reported(words, tmp_path, capsys):
    words = [*words, "--launcher", "slurm", "--cluster", "debug", "--output", str(tmp_path), "--shots", "99"]
    assert main(words) == 1
    printed = capsys.readouterr()
    assert "use --shots 5" in printed.out
    assert "2 runs failed" in printed.err


def test_a_job_that_is_preempted_is_submitted_again_with_the_same_arguments(tmp_path):
    from sweep.launchers.slurm import JobFunction

    words = ((run_for("few_shot", "phantom", "Tiny", "CoOp", 1, 1),), Options(tmp_path), 1)
    again = JobFunction().checkpoint(*words)
    assert isinstance(again, submitit.helpers.DelayedSubmission)
    assert isinstance(again.function, JobFunction)
    assert again.args == words


@pytest.mark.parametrize("option", ["partitoin=gpu", "time"])
def test_options_that_slurm_does_not_know_are_refused(words, tmp_path, capsys, option):
    words = [*words, "--launcher", "slurm", "--cluster", "debug", "--output", str(tmp_path), "--slurm", option]
    assert main(words) == 2
    assert option.split("=")[0] in capsys.readouterr().err


def test_jobs_that_vanished_are_noticed_at_the_second_look(tmp_path, monkeypatch):
    from sweep.launchers import slurm

    class Job:
        def __init__(self, job_id, result=tmp_path / "none"):
            self.job_id, self.paths = job_id, SimpleNamespace(result_pickle=result)

    done = tmp_path / "result.pkl"
    done.touch()
    jobs = [Job("7_0"), Job("7_1"), Job("7_2", done), Job("8_0")]
    answers = iter(["7_0\n8_0\n", None, "7_0\n", "7_0\n"])

    def squeue(words, **_):
        assert words[0] == "squeue"
        answer = next(answers)
        return SimpleNamespace(returncode=int(answer is None), stdout=answer)

    monkeypatch.setattr(slurm.subprocess, "run", squeue)
    vanished = slurm.Vanished()
    assert vanished.among(jobs) == []  # no look so soon
    monkeypatch.setattr(slurm, "LOOK_SECONDS", 0)
    assert vanished.among(jobs) == []  # 7_1 is missing for the first time
    assert vanished.among(jobs) == []  # Slurm does not answer
    assert [job.job_id for job in vanished.among(jobs)] == ["7_1"]
    assert [job.job_id for job in vanished.among(jobs[3:])] == ["8_0"]
