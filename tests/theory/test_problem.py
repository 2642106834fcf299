"""Problems and strategies refuse what they cannot mean, and say where."""

import numpy as np
import pytest

from theory.problem import Constant, Constants, Distribution, QuadraticProblem, TabularProblem
from theory.strategy import Hybrid, LossConstraint, ParameterConstraint

GOOD = Distribution([0.5, 0.5], [[0.9, 0.1], [0.2, 0.8]])


@pytest.mark.parametrize(
    ("context", "target", "says"),
    [
        ([0.5, 0.6], [[1, 0], [0, 1]], "context sums to 1.1"),
        ([0.5, 0.5], [[1, 0], [0.5, 0.4]], r"target \(row \[1\]\) sums to 0.9"),
        ([1.5, -0.5], [[1, 0], [0, 1]], "negative probability at index"),
        ([0.5, float("nan")], [[1, 0], [0, 1]], "NaN"),
        ([0.5, 0.5], [[1, 0]], "one row for each"),
        ([], [], "empty"),
    ],
)
def test_a_distribution_must_be_one(context, target, says):
    with pytest.raises(ValueError, match=says):
        Distribution(context, target)


def test_all_distributions_share_contexts_and_responses():
    with pytest.raises(ValueError, match="task has targets of shape"):
        TabularProblem(GOOD, Distribution([1.0], [[0.5, 0.5]]))


def test_proxy_and_aligned_default_to_the_safety_data():
    problem = TabularProblem(GOOD, GOOD)
    assert problem.proxy is problem.safety
    assert problem.aligned is problem.safety.target
    assert problem.safety_gap_at_aligned == 0.0
    assert bool(problem.same_teacher)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"H_s": [[1, 2], [0, 1]]}, "H_s is not symmetric"),
        ({"H_f": [[-1, 0], [0, 1]]}, "H_f is not positive semi-definite"),
        ({"theta_f": [1.0]}, "same number of coordinates"),
        ({"H_s": [[float("nan"), 0], [0, 1]]}, "H_s holds a NaN"),
        ({"H_s": [[1.0]]}, "expected 2 x 2"),
    ],
)
def test_a_quadratic_problem_must_be_convex_and_finite(change, says):
    good = {"H_s": np.eye(2), "H_f": np.eye(2), "theta_s": [0, 0], "theta_f": [1, 1]}
    QuadraticProblem(**good)
    with pytest.raises(ValueError, match=says):
        QuadraticProblem(**(good | change))


def test_constants_know_their_names_and_units():
    constants = Constants({"loss_range": 3.0, "tv": Constant(0.1, "estimated")})
    assert constants["loss_range"].unit == "nats"
    with pytest.raises(ValueError, match="Did you mean loss_range"):
        Constants({"loss_rang": 3.0})
    with pytest.raises(ValueError, match="cannot be negative"):
        Constants({"tv": -0.1})
    with pytest.raises(ValueError, match="NaN"):
        Constants({"tv": float("nan")})
    with pytest.raises(ValueError, match="high_probability"):
        Constant(0.1, "high_probability")


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_lambda_and_radius_are_positive_and_finite(value):
    for make in (
        lambda: LossConstraint(lam=value),
        lambda: ParameterConstraint(value),
        lambda: Hybrid(lam=value, radius=1.0),
        lambda: Hybrid(lam=1.0, radius=value),
    ):
        with pytest.raises(ValueError, match="must be a finite number greater than 0"):
            make()


def test_a_loss_constraint_takes_lambda_or_epsilon():
    for wrong in ({}, {"lam": 1.0, "epsilon": 0.1}):
        with pytest.raises(ValueError, match="exactly one"):
            LossConstraint(**wrong)
    assert LossConstraint(epsilon=0.0).epsilon == 0.0
