"""Assumptions dropped: each formula breaks without its own, and holds with it."""

from __future__ import annotations

import numpy as np
import pytest

from sims.assumptions.common import AssumptionFinding, Experiment
from sims.violated import EXPERIMENTS, outcome, violated_assumptions
from theory.bound import Direction

IDS = [experiment.name for experiment in EXPERIMENTS]


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=IDS)
def test_the_bound_breaks_where_the_assumption_fails(experiment) -> None:
    found = outcome(experiment, seed=0)
    assert found.share > 0.01
    assert found.worst > 1.1
    assert found.instances * experiment.cost >= 1_000


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=IDS)
@pytest.mark.parametrize("seed", [0, 1])
def test_the_same_formula_holds_where_the_assumption_does(experiment, seed) -> None:
    assert outcome(experiment, seed=seed, holds=True).share == 0.0


def test_formulas_are_not_so_loose_that_they_could_not_break() -> None:
    close = [outcome(e, seed=0, holds=True).worst for e in EXPERIMENTS]
    assert np.mean(np.array(close) > 0.9) > 0.6


def test_experiments_are_named_once_and_told_in_order() -> None:
    assert len(set(IDS)) == len(IDS)
    found = violated_assumptions(seed=3)
    assert [o.name for o in found] == IDS
    numbers = [int(o.statement[1:]) for o in found]
    assert numbers == sorted(numbers)
    assert {1, 2, 3, 4, 5, 6, 8, 10, 12, 13, 21, 22, 23, 24, 25} <= set(numbers)
    assert found == violated_assumptions(seed=3) != violated_assumptions(seed=4)
    assert set(found[0].as_json()) >= {"assumption", "statement", "share", "worst"}


def test_a_lower_bound_breaks_above_the_truth_and_a_nan_is_refused() -> None:
    above = AssumptionFinding(np.array([2.0, 1.0]), np.array([1.0, 2.0]), Direction.LOWER)
    np.testing.assert_array_equal(above.ratios(), [2.0, 0.5])
    nothing = AssumptionFinding(np.zeros(2), np.array([0.0, 1e-3]))
    np.testing.assert_array_equal(nothing.ratios(), [0.0, np.inf])
    broken = Experiment("x", "T1", "y", lambda rng, n, holds: AssumptionFinding(np.nan, np.ones(n)))
    with pytest.raises(FloatingPointError, match="x"):
        outcome(broken, seed=0)
