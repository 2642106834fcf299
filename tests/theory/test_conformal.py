"""T25: limits that hold for a new fine-tune as often as they say, and mutants that do not."""

from __future__ import annotations

import numpy as np
import pytest

from theory.conformal import (
    conformal_quantile,
    conformal_quantiles,
    groups_needed,
    jackknife_limits,
)

LEVEL = 0.9


def test_it_is_the_next_larger_order_statistic() -> None:
    scores = np.arange(1.0, 20.0)[::-1]  # 19 of them: the 18th smallest at 90 %
    assert conformal_quantile(scores, LEVEL) == 18.0
    assert conformal_quantile(scores[:9], LEVEL) == 19.0
    assert conformal_quantile(scores[:8], LEVEL) == np.inf


@pytest.mark.parametrize(("level", "fewest"), [(0.5, 1), (0.9, 9), (0.95, 19)])
def test_so_many_groups_are_needed(level, fewest) -> None:
    assert groups_needed(level) == fewest
    assert conformal_quantile(np.ones(fewest), level) == 1.0
    assert conformal_quantile(np.ones(max(1, fewest - 1)), level) == (
        1.0 if fewest == 1 else np.inf
    )


def test_a_group_weighs_as_much_as_another() -> None:
    # Nine large scores of one group are one tenth of the whole, as one score would be.
    scores = [*range(1, 10), *[100.0] * 9]
    groups = [*range(9), *["large"] * 9]
    assert conformal_quantile(scores, 0.8, groups=groups) == 9.0
    assert conformal_quantile(scores, 0.8) == 100.0


def test_many_sets_of_scores_at_once() -> None:
    scores = np.random.default_rng(0).normal(size=(5, 3, 12))
    groups = [0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 8]
    found = conformal_quantiles(scores, 0.7, groups=groups)
    assert found.shape == (5, 3)
    assert found[4, 1] == conformal_quantile(scores[4, 1], 0.7, groups=groups)


def test_a_forecast_that_is_not_learnt_has_jackknife_limits_of_the_quantile() -> None:
    errors = np.random.default_rng(1).gamma(1.0, size=20)
    low, high = jackknife_limits(np.full(20, 3.0), errors, LEVEL)
    q = conformal_quantile(errors, LEVEL)
    assert (low, high) == pytest.approx((3.0 - q, 3.0 + q))
    # One fine-tune decides much: without it the forecast is another, which the limits hold.
    low, high = jackknife_limits([*[3.0] * 19, 9.0], errors * 0, 0.99)
    assert (low, high) == (-np.inf, np.inf)
    low, high = jackknife_limits([*[3.0] * 19, 9.0], errors * 0, 20 / 21)
    assert (low, high) == (3.0, 9.0)


def test_one_side_alone() -> None:
    """The signed score of rank 18 of 19: as many as nine tenths of twenty."""
    signed = np.arange(-9.0, 10.0)
    assert conformal_quantile(signed, LEVEL) == 8.0


def coverage(quantile, *, groups: int, runs: int, scatter: float, draws: int = 2500) -> float:
    """How often a new run of a new group is within the limit of ``groups`` groups of ``runs``."""
    rng = np.random.default_rng(3)
    names = np.repeat(np.arange(groups), runs)
    held = 0
    for _ in range(draws):
        of_group = rng.normal(0.0, scatter, groups + 1)
        scores = np.abs(of_group[names] + rng.normal(size=len(names)))
        held += abs(of_group[-1] + rng.normal()) <= quantile(scores, names)
    return held / draws


@pytest.mark.parametrize(("groups", "runs", "scatter"), [(12, 1, 0.0), (12, 4, 2.0), (30, 3, 1.0)])
def test_it_covers_as_often_as_it_says(groups, runs, scatter) -> None:
    found = coverage(
        lambda scores, names: conformal_quantile(scores, LEVEL, groups=names.tolist()),
        groups=groups,
        runs=runs,
        scatter=scatter,
    )
    error = np.sqrt(0.09 / 2500)
    assert found >= LEVEL - 2 * error
    # No more than a group's share above: it is not the trivial limit.
    assert found <= LEVEL + 1 / (groups + 1) + 0.03


@pytest.mark.parametrize(
    "mutant",
    [
        lambda scores, names: np.quantile(scores, LEVEL, method="inverted_cdf"),
        lambda scores, names: conformal_quantile(scores, LEVEL),
    ],
    ids=["no +1", "runs for groups"],
)
def test_mutants_cover_less(mutant) -> None:
    found = coverage(mutant, groups=9, runs=8, scatter=3.0)
    assert found < LEVEL - 2 * np.sqrt(0.09 / 2500)


@pytest.mark.parametrize(
    ("scores", "level", "groups"),
    [([], 0.9, None), ([np.nan], 0.9, None), ([1.0], 1.0, None), ([1.0, 2.0], 0.5, ["a"])],
)
def test_bad_input(scores, level, groups) -> None:
    with pytest.raises(ValueError, match=r"scores|level|groups"):
        conformal_quantile(scores, level, groups=groups)
