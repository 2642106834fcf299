"""A grid on Ray, where the cluster extra is installed: the same records as in this process."""

from __future__ import annotations

import json

import pytest

from llm_validation.experiments.config import expand, experiment_of
from llm_validation.experiments.grid import run_grid
from llm_validation.experiments.prepare import prepare

pytest.importorskip("ray", reason="the cluster extra is not installed")


@pytest.mark.slow
@pytest.mark.enable_socket  # a cluster on this machine talks to itself
def test_a_local_cluster_finishes_the_grid_and_tells_refusals_apart(content, tmp_path, finished):
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
    outcomes = run_grid(prepared, expand(experiment), executor="ray")
    assert [o.status for o in outcomes] == ["done", "done"], [o.error for o in outcomes]
    by_id = {m.run.id: m for m in finished.measured}
    for outcome in outcomes:
        mine = json.loads((tmp_path / "out" / "runs" / outcome.run.id / "steps.json").read_text())[
            "task_loss"
        ]
        assert mine == pytest.approx(by_id[outcome.run.id].finetuned.steps["task_loss"], abs=1e-6)
