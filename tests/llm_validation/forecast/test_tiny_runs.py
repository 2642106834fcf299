"""Both forecasts beside a handful of real runs of the tiny model: order and size."""

from __future__ import annotations

import numpy as np
import pytest

from finebound.results.forecasts import JudgedForecast
from llm_validation.forecast.linearised import Linearised
from llm_validation.forecast.optimiser import train
from llm_validation.forecast.ranking import rank
from llm_validation.forecast.unroll import CoarseUnroll
from llm_validation.forecast.world import prepared
from llm_validation.measure.losses import measure_losses
from llm_validation.training.streams import PROXY, TASK, Stream, Streams
from theory.strategy import Hybrid, LossConstraint, ParameterConstraint

RUNS = {
    "none": (None, None),
    "same teacher, 0.3": ("safety", LossConstraint(lam=0.3)),
    "same teacher, 3": ("safety", LossConstraint(lam=3.0)),
    "other teacher, 1": ("other", LossConstraint(lam=1.0)),
    "radius": (None, ParameterConstraint(radius=0.15)),
    "hybrid": ("safety", Hybrid(lam=1.0, radius=0.15)),
}
OURS = (
    CoarseUnroll(steps=20, rows_per_step=2, safety_rows=36, name="unroll"),
    Linearised(rows=24, name="linearised"),
)


@pytest.fixture
def measured(theta, small_plan, world_of):
    """``measured(proxy, strategy)``: a world, a plan, and what the real run does."""

    def run(proxy, strategy):
        plan = small_plan(steps=30, learning_rate=4e-3, strategy=strategy)
        world = world_of(proxy)
        task = Stream(TASK, tuple(world.encoded("task")), plan.batch_size, plan.seed)
        second = None
        if proxy is not None:
            rows = tuple(world.encoded("proxy"))
            second = Stream(PROXY, rows, plan.proxy_rows_per_step, plan.seed)
        sides = ("safety", "task")
        with prepared(theta, plan) as (model, _):
            pad = world.pad_id
            start = [measure_losses(model, world.encoded(r), pad_id=pad).per_token for r in sides]
            train(model, plan, Streams(task, second), plan.learning_rates(), pad_id=pad)
            end = [measure_losses(model, world.encoded(r), pad_id=pad).per_token for r in sides]
        return world, plan, [b - a for a, b in zip(start, end, strict=True)]

    return run


def test_both_forecasts_rank_tiny_runs(measured):
    comparisons = []
    for name, (proxy, strategy) in RUNS.items():
        world, plan, truth = measured(proxy, strategy)
        for predictor in OURS:
            said = predictor.predict(world, plan)
            did = dict(zip(("measured_safety_change", "measured_task_change"), truth, strict=True))
            comparisons.append(JudgedForecast(run=name, **did, **said.to_dict()))
    rng = np.random.default_rng(0)
    safety = {row.name: row for row in rank(comparisons, rng=rng)}
    task = {row.name: row for row in rank(comparisons, rng=rng, what="task")}
    assert safety["unroll"].spearman.estimate >= 0.8
    assert safety["linearised"].spearman.estimate >= 0.6
    assert safety["unroll"].factor < 1.5
    assert task["unroll"].factor < 1.5
    assert safety["unroll"].coverage.estimate >= 0.8
