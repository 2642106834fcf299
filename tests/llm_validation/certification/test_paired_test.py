"""The paired test: exact without a loss, monotone, right as often as it says."""

import math

import numpy as np
import pytest
from scipy import stats

from llm_validation.certification.paired_test import (
    paired_lower_limit,
    paired_p_value,
    paired_upper_limit,
    probes_at_this_loss,
    probes_for,
)


def sample(lost, gained, n):
    return np.repeat([1.0, -1.0, 0.0], [lost, gained, n - lost - gained])


@pytest.mark.parametrize(("budget", "confidence"), [(0.02, 0.95), (0.05, 0.95), (0.1, 0.99)])
def test_without_a_loss_it_needs_as_many_probes_as_the_exact_test(budget, confidence):
    level = 1 - confidence
    n = math.ceil(math.log(level) / math.log(1 - budget))
    assert paired_p_value(sample(0, 0, n), budget, level=level) == pytest.approx((1 - budget) ** n)
    assert paired_p_value(sample(0, 0, n), budget, level=level) <= level
    assert paired_p_value(sample(0, 0, n - 1), budget, level=level) > level
    assert probes_for(budget, confidence) == n


@pytest.mark.parametrize(("lost", "gained", "n"), [(0, 0, 60), (7, 0, 400), (40, 32, 400)])
def test_the_limits_are_where_the_test_turns_and_hold_the_loss(lost, gained, n):
    differences, level = sample(lost, gained, n), 0.05
    upper = paired_upper_limit(differences, level=level)
    assert paired_p_value(differences, upper, level=level) <= level
    assert paired_p_value(differences, upper - 1e-9, level=level) > level
    assert paired_lower_limit(differences, level=level) < differences.mean() < upper
    grid = [paired_p_value(differences, b, level=level) for b in np.linspace(0.001, 0.999, 60)]
    assert (np.diff(grid) <= 1e-12).all()


def test_what_was_gained_counts():
    """Ten of a hundred lost and nine gained are no loss of ten: the exact test alone sees that."""
    upper = paired_upper_limit(sample(100, 92, 1000), level=0.05)
    exact = stats.beta.ppf(0.95, 101, 900)
    assert 0.008 < upper < 0.06 < 0.1 < exact


@pytest.mark.parametrize(("gained", "n"), [(0.0, 100), (0.03, 400), (0.2, 150)])
def test_counted_error_at_the_boundary(gained, n):
    """A model that loses exactly the budget is certified at most as often as the level says."""
    budget, level, runs = 0.05, 0.05, 4_000
    rng = np.random.default_rng(n)
    counts = rng.multinomial(n, [budget + gained, gained, 1 - budget - 2 * gained], size=runs)
    distinct, times = np.unique(counts, axis=0, return_counts=True)
    wrong = lower = 0
    for (k, m, _), weight in zip(distinct, times, strict=True):
        differences = sample(k, m, n)
        wrong += weight * (paired_p_value(differences, budget, level=level) <= level)
    few = rng.choice(len(counts), 150)
    lower = sum(paired_lower_limit(sample(*counts[i][:2], n), level=level) > budget for i in few)
    error = 2 * math.sqrt(level * (1 - level) / runs)
    assert 0 < wrong / runs <= level + error
    assert lower / 150 <= level + 2 * math.sqrt(level * (1 - level) / 150)


def test_giving_each_half_all_of_the_level_would_be_caught():
    """The mutant that takes the smaller of both p-values without sharing errs more often."""
    budget, level, n, gained = 0.05, 0.05, 400, 0.02
    p = [budget + gained, gained, 1 - budget - 2 * gained]
    counts = np.random.default_rng(1).multinomial(n, p, size=400)
    mine = [paired_p_value(sample(k, m, n), budget, level=level) <= level for k, m, _ in counts]
    # The exact test of lost answers less what was gained is the classic mistake.
    mutant = stats.binom.cdf(counts[:, 0] - counts[:, 1], n, budget) <= level
    assert np.mean(mine) <= level < np.mean(mutant)


@pytest.mark.parametrize("expected", [0.0, 0.005, 0.01, 0.02])
def test_planned_probes_certify_as_often_as_planned(expected):
    budget, confidence = 0.05, 0.95
    n = probes_for(budget, confidence, expected=expected)
    lost = np.arange(n + 1)
    chance = stats.binom.pmf(lost, n, expected)
    likely = lost[chance > 1e-6]
    certified = [
        paired_p_value(sample(k, 0, n), budget, level=1 - confidence) <= 1 - confidence
        for k in likely
    ]
    assert chance[likely] @ np.array(certified) >= 0.8 - 1e-4


def test_more_probes_at_the_loss_that_was_seen():
    assert probes_at_this_loss(sample(3, 0, 50), 0.05, 0.95) is None
    few = probes_at_this_loss(sample(1, 0, 50), 0.05, 0.95)
    noisy = probes_at_this_loss(sample(8, 7, 50), 0.05, 0.95)
    assert 50 < few < noisy
