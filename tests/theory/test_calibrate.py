"""``calibrate``: the inverse errs on the safe side and is within 1 % of the best that keeps it."""

import numpy as np
import pytest

from theory.bound import Status
from theory.calibrate import calibrate
from theory.evaluation import best, evaluate
from theory.exact import exact
from theory.problem import Constants, Distribution, QuadraticProblem, TabularProblem
from theory.strategy import Hybrid, LossConstraint, ParameterConstraint

CONSTANTS = Constants(
    {
        "capability_gap_at_aligned": 0.8,
        "loss_range": 12.0,
        "tv": 0.001,
        "smoothness_safety": 2.0,
        "logit_lipschitz": 3.0,
    }
)


def upper(problem, strategy) -> float:
    return best(evaluate(problem, strategy), "safety_gap", "upper").value


@pytest.mark.parametrize("budget", [0.05, 0.2, 1.0])
def test_lambda_is_the_smallest_that_keeps_the_budget(budget):
    found = calibrate(CONSTANTS, budget, "loss")
    assert upper(CONSTANTS, found.strategy) <= budget
    # T1 in closed form: 0.8 / lam + 2 * 12 * 0.001 = budget.
    assert found.strategy.lam == pytest.approx(0.8 / (budget - 0.024), rel=0.01)
    assert found.strategy.lam >= 0.8 / (budget - 0.024)


@pytest.mark.parametrize("budget", [1e-3, 0.1])
def test_radius_is_the_largest_that_keeps_the_budget(budget):
    found = calibrate(CONSTANTS, budget, "parameter")
    # T6, smooth: 1/2 * 2 * r^2 = budget.
    assert found.strategy.radius == pytest.approx(np.sqrt(budget), rel=0.01)
    assert found.strategy.radius <= np.sqrt(budget)
    assert upper(CONSTANTS, found.strategy) <= budget


def test_random_tables_keep_their_budget(rng, random_tabular, instance):
    problem = random_tabular(rng, 20, positive=True, same_teacher=True)
    for i in range(20):
        one = instance(problem, i)
        budget = 0.5 * upper(one, LossConstraint(lam=1.0)) + 1e-6
        found = calibrate(one, budget, "loss")
        assert found.strategy is not None
        assert upper(one, found.strategy) <= budget
        if not found.unconstrained:
            assert upper(one, LossConstraint(lam=found.strategy.lam / 1.01)) > budget


def test_a_budget_below_the_floor_is_reported_not_faked():
    """A proxy in another teacher's voice: no lambda takes the gap below Phi (T5)."""
    problem = TabularProblem(
        Distribution([1.0], [[0.9, 0.1]]),
        Distribution([1.0], [[0.1, 0.9]]),
        Distribution([1.0], [[0.5, 0.5]]),
    )
    found = calibrate(problem, 1e-4, "loss")
    assert found.strategy is None
    assert found.best.value > 1e-4


def test_a_budget_that_only_a_narrow_range_of_lambda_keeps_is_found():
    """A mismatched proxy: G_s falls, then rises again in lambda (T5 c)."""
    problem = TabularProblem(
        Distribution([1.0], [[0.5, 0.5]]),
        Distribution([1.0], [[0.1, 0.9]]),
        Distribution([1.0], [[0.8, 0.2]]),
    )
    lowest = 4.0 / 3.0  # (0.1 + 0.8 lam) / (1 + lam) = 0.5
    gap = upper(problem, LossConstraint(lam=lowest * 1.002))
    found = calibrate(problem, gap, "loss")
    assert found.strategy is not None
    assert found.strategy.lam == pytest.approx(lowest, rel=0.01)
    assert upper(problem, found.strategy) <= gap


def test_an_easy_budget_needs_no_constraint_and_hybrid_needs_a_radius():
    agreeing = TabularProblem(Distribution([1.0], [[0.9, 0.1]]), Distribution([1.0], [[0.9, 0.1]]))
    assert calibrate(agreeing, 0.1, "loss").unconstrained
    hybrid = calibrate(CONSTANTS, 0.1, "hybrid", radius=0.05)
    assert isinstance(hybrid.strategy, Hybrid)
    assert hybrid.best.value <= 0.1
    with pytest.raises(ValueError, match="given radius"):
        calibrate(CONSTANTS, 0.1, "hybrid")


@pytest.mark.parametrize("budget", [-0.1, float("nan"), float("inf")])
def test_bad_budgets_and_kinds(budget):
    with pytest.raises(ValueError, match="safety budget"):
        calibrate(CONSTANTS, budget, "loss")
    with pytest.raises(ValueError, match="unknown strategy"):
        calibrate(CONSTANTS, 0.1, "parametr")


def test_the_search_goes_by_strategy_kind():
    assert isinstance(calibrate(CONSTANTS, 0.1, "loss").strategy, LossConstraint)
    assert isinstance(calibrate(CONSTANTS, 0.1, "parameter").strategy, ParameterConstraint)


@pytest.mark.parametrize("kind", ["loss", "parameter"])
def test_a_quadratic_is_calibrated_on_its_exact_gap(kind):
    problem = QuadraticProblem([[1, 0], [0, 2]], np.eye(2), [0, 0], [1, 1])
    found = calibrate(problem, 0.1, kind)
    gap = exact(problem, found.strategy).safety_gap
    assert 0.1 * 0.97 <= gap <= 0.1
    assert found.best.status is Status.EXACT
