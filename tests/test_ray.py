"""Sweeps on a Ray cluster of two nodes on this machine."""

import threading

import pytest

from runs.folder import MARKER
from sweep.__main__ import main
from tests import faults

ray = pytest.importorskip("ray", reason="Ray is not installed (requirements-ray.txt)")


@pytest.fixture
def cluster():
    from ray.cluster_utils import Cluster

    # The head has no cores for runs: they are on two nodes that may be lost.
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@pytest.mark.slow
def test_a_sweep_survives_the_loss_of_a_node(cluster, few_images, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    cluster.wait_for_nodes()
    words = ["run", "--root", str(few_images), "--methods", "CoOp", "--shots", "1,2", "--seeds", "1,2,3,4"]
    words += ["--stack", "1", "OPTIM.MAX_EPOCH", "5", "DATALOADER.TRAIN_X.BATCH_SIZE", "2"]
    output = tmp_path / "ray"

    complete_then = []

    def lose_a_node():
        faults.wait_for(lambda: len(list(output.rglob(MARKER))) >= 2)
        cluster.remove_node(nodes[0], allow_graceful=False)
        complete_then.append(len(list(output.rglob(MARKER))))

    thread = threading.Thread(target=lose_a_node)
    thread.start()
    assert main([*words, "--launcher", "ray", "--address", cluster.address, "--output", str(output)]) == 0
    thread.join()
    assert "8/8 runs" in capsys.readouterr().out
    assert 2 <= complete_then[0] < 8
    assert main([*words, "--output", str(tmp_path / "local")]) == 0
    assert len(faults.numbers(output)) == 8
    assert faults.numbers(output) == faults.numbers(tmp_path / "local")
    assert not faults.left_behind(output)
