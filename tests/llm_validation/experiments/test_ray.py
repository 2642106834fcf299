"""A grid on Ray, where the cluster extra is installed: the same records as in this process."""

from __future__ import annotations

import json
import os
import signal
import threading

import psutil
import pytest

from llm_validation.experiments.config import expand, experiment_of
from llm_validation.experiments.grid import run_grid
from llm_validation.experiments.prepare import prepare

pytest.importorskip("ray", reason="the cluster extra is not installed")


def prepared_in(tmp_path, content):
    alone = {
        **content,
        "grid": [{"tasks": ["general"], "unconstrained": True, "radius": [0.05]}],
        "landscape": None,
        "forecast": None,
        "generations": None,
    }
    experiment = experiment_of(alone)
    prepared = prepare(experiment, tmp_path / "out", cache=tmp_path / "cache")
    (tmp_path / "out" / "experiment.json").write_text(
        json.dumps(experiment.model_dump(mode="json"))
    )
    return experiment, prepared


def require_same_records(outcomes, finished, out):
    assert [o.status for o in outcomes] == ["done", "done"], [o.error for o in outcomes]
    by_id = {m.run.id: m for m in finished.measured}
    for outcome in outcomes:
        steps = json.loads((out / "runs" / outcome.run.id / "steps.json").read_text())
        theirs = by_id[outcome.run.id].finetuned.steps["task_loss"]
        assert steps["task_loss"] == pytest.approx(theirs, abs=1e-6)


@pytest.mark.slow
@pytest.mark.enable_socket  # a cluster on this machine talks to itself
def test_a_local_cluster_finishes_the_grid_and_tells_refusals_apart(content, tmp_path, finished):
    experiment, prepared = prepared_in(tmp_path, content)
    outcomes = run_grid(prepared, expand(experiment), executor="ray")
    require_same_records(outcomes, finished, tmp_path / "out")


class Killer(threading.Thread):
    """Kills the first worker that begins a run, and notes each run's worker and its node."""

    def __init__(self, runs):
        super().__init__(daemon=True)
        self.runs, self.killed, self.nodes, self.nice = runs, None, set(), set()
        self.over = threading.Event()

    def run(self):
        while not self.over.wait(0.01):
            for file in self.runs.glob("*/attempts.json"):
                last = json.loads(file.read_text())[-1]
                if last["outcome"] != "running":
                    continue
                try:
                    worker = psutil.Process(last["pid"])
                    self.nodes.add(worker.ppid())  # its node's raylet
                    self.nice.add(worker.nice())
                except psutil.NoSuchProcess:
                    continue
                if self.killed is None:
                    os.kill(last["pid"], signal.SIGKILL)
                    self.killed = file.parent.name


@pytest.mark.slow
@pytest.mark.enable_socket
def test_two_nodes_finish_what_a_killed_worker_began(
    content, tmp_path, finished, monkeypatch, capsys
):
    from ray.cluster_utils import Cluster

    experiment, prepared = prepared_in(tmp_path, content)
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_worker_niceness", "3")
    killer = Killer(tmp_path / "out" / "runs")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
        killer.start()
        outcomes = run_grid(prepared, expand(experiment), executor="ray", address=cluster.address)
    finally:
        killer.over.set()
        cluster.shutdown()
    require_same_records(outcomes, finished, tmp_path / "out")
    attempts = {o.run.id: [a["outcome"] for a in o.attempts] for o in outcomes}
    assert attempts.pop(killer.killed) == ["killed", "done"]
    assert list(attempts.values()) == [["done"]]
    assert len(killer.nodes) == 2  # each has one processor: a run at a time
    assert killer.nice == {3 + os.nice(0)} or killer.nice == {3}
    assert "niceness" in capsys.readouterr().err
