"""Baseline predictors: what each is on inputs where its value is known, and what all share."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from llm_validation.data.dataset import Dataset
from llm_validation.forecast.baselines import data_baselines, principal_angle
from llm_validation.forecast.gradient_baselines import (
    ROWS,
    fisher_overlap,
    gradient_baselines,
    gradient_cosine,
    objective_gradient,
    projected_updates,
    quartic_stability,
)
from llm_validation.forecast.gradient_rows import gradient_rows
from llm_validation.forecast.predictors import all_predictors
from llm_validation.forecast.world import World
from llm_validation.training.plan import FullWeights
from theory.strategy import LossConstraint

TEXT = {
    "prompt embeddings' cosine",
    "n-gram overlap",
    "last-token similarity",
    "cluster divergence",
}


@pytest.fixture
def worlds(theta, datasets) -> tuple[World, World]:
    """A task whose prompts and answers are the safety data's, and one with other symbols."""
    strange = Dataset.of(
        [(f"{i} + {i * i} = ?", f"{i + i * i}, {i}") for i in range(30)], name="numbers"
    )
    return (
        World(theta, datasets["safety"], datasets["safety"]),
        World(theta, datasets["safety"], strange),
    )


def test_data_like_the_safety_data_score_higher(worlds, small_plan):
    like, unlike = worlds
    for baseline in data_baselines():
        scores = [baseline.predict(world, small_plan()) for world in (like, unlike)]
        if baseline.name in TEXT:
            assert scores[0].safety_change > scores[1].safety_change, baseline.name
        assert all(s.is_score and s.interval_90 is None for s in scores)
        assert scores[0].task_change is None


def test_data_baselines_say_the_same_for_every_strategy(world_of, small_plan):
    for baseline in data_baselines():
        plans = [small_plan(), small_plan(strategy=LossConstraint(lam=3.0))]
        assert len({baseline.predict(world_of("other"), p).safety_change for p in plans}) == 1


def test_the_safety_direction_lies_in_its_own_subspace(worlds, small_plan):
    like, unlike = worlds
    assert principal_angle(like, small_plan()) == pytest.approx(1.0)
    assert 0 <= principal_angle(unlike, small_plan()) < 0.999


def test_gradient_scores_of_a_task_that_is_the_safety_data(worlds, small_plan):
    plan = small_plan(method=FullWeights())
    like, unlike = worlds
    assert gradient_cosine(like, plan) == pytest.approx(-1.0)
    assert -1 < gradient_cosine(unlike, plan) < 1
    # u is the mean of the rows that span the subspace.
    assert fisher_overlap(like, plan) > 0.5 > fisher_overlap(unlike, plan) >= 0
    # Both directions are one line then, and every update points along it.
    norm = float(objective_gradient(like, plan).norm())
    assert projected_updates(like, plan) == pytest.approx(-2 * norm, rel=1e-5)


def test_danger_rows_give_the_danger_direction(theta, datasets, small_plan):
    plan = small_plan()
    world = World(theta, datasets["safety"], datasets["task"], danger=datasets["task"])
    without = World(theta, datasets["safety"], datasets["task"])
    assert projected_updates(world, plan) > projected_updates(without, plan)


def test_the_fisher_score_is_a_projection(worlds, small_plan):
    plan = small_plan(method=FullWeights())
    world = worlds[1]
    rows = gradient_rows(world, plan, "safety", ROWS).given.double()
    update = objective_gradient(world, plan).double()
    _, singular, axes = torch.linalg.svd(rows, full_matrices=False)
    share = (singular**2).cumsum(0) / (singular**2).sum()
    kept = int((share < 0.9).sum()) + 1
    expected = float((axes[:kept] @ update).norm() / update.norm())
    assert fisher_overlap(world, plan) == pytest.approx(expected, rel=1e-5)


def test_the_quartic_forecast_is_zero_where_its_lower_bound_is(world_of, small_plan):
    world = world_of("other")
    short, long = (
        quartic_stability(world, small_plan(steps=n, learning_rate=0.05)) for n in (1, 4000)
    )
    longer = quartic_stability(world, small_plan(steps=8000, learning_rate=0.05))
    assert short == 0.0 < long
    # Far out the linear term is lost: twice the time, sixteen times the loss.
    assert 16 <= longer / long < 20


def test_the_proxys_pull_moves_gradient_scores(world_of, small_plan):
    world = world_of("safety")
    # So long that the quartic forecast is past its dead zone.
    plans = [
        small_plan(strategy=LossConstraint(lam=lam), steps=10_000, learning_rate=0.05)
        for lam in (0.1, 100.0)
    ]
    for baseline in gradient_baselines():
        weak, strong = (baseline.predict(world, plan) for plan in plans)
        assert weak.safety_change != strong.safety_change, baseline.name
        assert weak.cost_tokens > 0
    cosines = [gradient_cosine(world, plan) for plan in plans]
    assert cosines[1] < cosines[0]
    assert cosines[1] == pytest.approx(-1.0, abs=0.01)


def test_no_predictor_changes_the_model(world_of, small_plan, theta, imprint):
    before = imprint(theta)
    world = world_of("other")
    plan = small_plan(strategy=LossConstraint(lam=1.0), steps=30)
    found = [p.predict(world, plan) for p in all_predictors(share=0.3, gradients=6)]
    assert imprint(theta) == before
    assert all(np.isfinite(said.safety_change) for said in found)
    assert [said.is_score for said in found] == [False, False, *[True] * 9]
    assert len({said.name for said in found}) == len(found)
