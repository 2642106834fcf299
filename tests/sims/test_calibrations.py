"""T25's toy calibrations: coverage has its closed form, and each assumption is needed."""

from __future__ import annotations

import numpy as np
import pytest

from sims.calibrations import USUAL, Plans, bags, conformal, failures, jackknife_failures
from sims.families.calibrations import Calibrations, grouped, learnt
from theory.bound import Quantity
from theory.conformal import conformal_quantiles


@pytest.mark.parametrize(("pairs", "level"), [(11, 0.9), (20, 0.9), (5, 0.37), (4, 0.75), (4, 0.8)])
def test_coverage_of_one_fine_tune_a_pair_has_a_closed_form(pairs: int, level: float) -> None:
    """Of n finished fine-tunes ``ceil((n + 1) level) / (n + 1)``, and 1 where that is above 1."""
    (bag,) = bags(np.random.default_rng(0), 200, [1] * pairs)
    covered = 1.0 - failures(bag.scores, bag.names, conformal(level))
    exact = min(1.0, np.ceil(pairs * level - 1e-9) / pairs)
    np.testing.assert_allclose(covered, exact, atol=1e-12)


def test_coverage_given_the_finished_fine_tunes_is_a_beta() -> None:
    """A uniform score is below the k-th smallest of n with a probability of Beta(k, n + 1 - k)."""
    n, level = 19, 0.9
    given = conformal_quantiles(np.random.default_rng(1).random((20_000, n)), level)
    k = 18
    assert given.mean() == pytest.approx(k / (n + 1), abs=0.002)
    spread = np.sqrt(k * (n + 1 - k) / ((n + 1) ** 2 * (n + 2)))
    assert given.std() == pytest.approx(spread, rel=0.03)


def test_a_forecast_is_about_right_and_errs_alike_within_a_pair() -> None:
    (bag,) = bags(np.random.default_rng(2), 500, [3] * 6)
    said, did = np.log(bag.said.ravel()), np.log(bag.did.ravel())
    assert 0.8 < np.corrcoef(said, did)[0, 1] < 0.999
    signed = ((bag.did - bag.said) / bag.scale).reshape(500, 6, 3)
    within, between = signed.std(axis=2).mean(), signed.mean(axis=2).std(axis=1).mean()
    assert between > 0.1 * within


@pytest.mark.parametrize(
    "plans",
    [Plans(longer=8.0), Plans(noisier=3.0), Plans(signs=True)],
    ids=["longer", "data", "signs"],
)
def test_what_is_not_exchangeable_is_missed_more_often(plans: Plans) -> None:
    usual, other = bags(np.random.default_rng(3), 300, [2] * 10, (USUAL, plans))
    np.testing.assert_array_equal(usual.names, other.names)
    kept = failures(usual.scores, usual.names, conformal(0.9))
    missed = failures(usual.scores, usual.names, conformal(0.9), other.scores)
    assert kept.max() <= 0.1 + 1e-12
    assert missed.mean() > 1.1 * kept.mean()


def test_a_slope_that_is_learnt_costs_less_than_is_proved() -> None:
    (bag,) = bags(np.random.default_rng(4), 300, [1, 2] * 5)
    failing = jackknife_failures(bag, 0.8)
    assert failing.max() <= 0.4
    assert 0.05 < failing.mean() < 0.2
    # Where every forecast is half of what happens, the slope learns it.
    halved = type(bag)(bag.said, 2.0 * bag.said, bag.names)
    assert jackknife_failures(halved, 0.8).max() <= 0.4


@pytest.mark.parametrize("kind", [grouped, learnt])
def test_a_case_says_what_it_is(kind) -> None:
    case = kind(np.random.default_rng(5), 7, 6, 0.5)
    (bound,), (run,) = case.bounds, case.runs
    assert bound.form in run.forms
    assert run.truth[Quantity.FAILURE].shape == (7,)
    assert "6 pairs" in case.words


def test_instances_are_as_many_as_were_asked_for() -> None:
    sizes = [case.n for case in Calibrations().cases(np.random.default_rng(6), 10)]
    assert sum(sizes) == 3 * 10
