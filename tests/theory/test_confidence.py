"""Intervals cover at the probability they state, and no wider than their formula."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from theory.confidence import (
    Interval,
    clopper_pearson,
    empirical_bernstein,
    multinomial_tv_radius,
    sign_flip_p_value,
)
from theory.resampling import paired_bootstrap


def most_failures(runs: int, p: float) -> int:
    """More failures than this have probability below 1e-4 when each run fails with <= p."""
    return int(stats.binom.ppf(1 - 1e-4, runs, p))


LOSSES = {
    "coin": lambda rng, n: rng.integers(2, size=n).astype(float),
    "rare large loss": lambda rng, n: (rng.random(n) < 0.02).astype(float),
    "uniform": lambda rng, n: rng.random(n),
    "beta": lambda rng, n: rng.beta(0.3, 3.0, size=n),
}
MEANS = {"coin": 0.5, "rare large loss": 0.02, "uniform": 0.5, "beta": 0.3 / 3.3}


@pytest.mark.parametrize("family", LOSSES)
@pytest.mark.parametrize("n", [5, 40, 400])
def test_empirical_bernstein_covers_each_side(family, n, rng):
    p, runs = 0.2, 600
    found = [empirical_bernstein(LOSSES[family](rng, n), bound=1.0, p=p) for _ in range(runs)]
    assert sum(i.upper < MEANS[family] for i in found) <= most_failures(runs, p / 2)
    assert sum(i.lower > MEANS[family] for i in found) <= most_failures(runs, p / 2)


def test_a_quarter_of_the_radius_would_not_cover(rng):
    p, runs, failures = 0.2, 600, 0
    for _ in range(runs):
        i = empirical_bernstein(LOSSES["coin"](rng, 400), bound=1.0, p=p)
        failures += abs(i.estimate - 0.5) > (i.upper - i.estimate) / 4
    assert failures > most_failures(runs, p)


def test_empirical_bernstein_is_maurer_and_pontils_with_half_of_p_a_side():
    losses, p = np.array([1.0, 2.0, 2.5, 3.0] * 50), 0.1
    i = empirical_bernstein(losses, bound=10.0, p=p)
    log = np.log(2 / (p / 2))
    radius = np.sqrt(2 * losses.var(ddof=1) * log / 200) + 7 * 10 * log / (3 * 199)
    assert (i.lower, i.upper) == pytest.approx((losses.mean() - radius, losses.mean() + radius))
    assert i.failure_probability == p


def test_paired_differences_have_twice_the_range(rng):
    differences = rng.normal(0, 0.1, size=300).clip(-1, 1)
    one = empirical_bernstein(differences, bound=1.0, lower=-1.0, p=0.05)
    shifted = empirical_bernstein(differences + 1.0, bound=2.0, p=0.05)
    assert one.upper - one.lower == pytest.approx(shifted.upper - shifted.lower)
    assert one.lower == pytest.approx(shifted.lower - 1.0)


def test_one_loss_says_only_the_range():
    assert empirical_bernstein([0.3], bound=2.0, p=0.1) == Interval(0.3, 0.0, 2.0, 0.1)


@pytest.mark.parametrize(
    ("losses", "options", "message"),
    [
        ([0.5, 1.5], {"bound": 1.0, "p": 0.1}, "leave"),
        ([-0.5, 0.5], {"bound": 1.0, "p": 0.1}, "leave"),
        ([0.5, np.nan], {"bound": 1.0, "p": 0.1}, "row 2"),
        ([], {"bound": 1.0, "p": 0.1}, "n >= 1"),
        ([0.5], {"bound": 1.0, "p": 0.0}, "probability"),
        ([0.5], {"bound": 1.0, "p": 1.0}, "probability"),
        ([0.0], {"bound": 0.0, "p": 0.1}, "empty"),
    ],
)
def test_empirical_bernstein_refuses(losses, options, message):
    with pytest.raises(ValueError, match=message):
        empirical_bernstein(losses, **options)


@pytest.mark.parametrize(("k", "n"), [(0, 10), (3, 10), (10, 10), (99, 100), (0, 0)])
def test_clopper_pearson_solves_the_binomial_tails(k, n):
    p = 0.07
    lower = clopper_pearson(k, n, p=p, side="lower")
    upper = clopper_pearson(k, n, p=p, side="upper")
    both = clopper_pearson(k, n, p=2 * p)
    assert (lower.upper, upper.lower) == (1.0, 0.0)
    assert (both.lower, both.upper) == pytest.approx((lower.lower, upper.upper))
    if k > 0:
        assert stats.binom.sf(k - 1, n, lower.lower) == pytest.approx(p)
    else:
        assert lower.lower == 0.0
    if k < n:
        assert stats.binom.cdf(k, n, upper.upper) == pytest.approx(p)
    else:
        assert upper.upper == 1.0


@pytest.mark.parametrize("side", ["lower", "upper", "two-sided"])
def test_clopper_pearson_covers_exactly_as_stated(side):
    n, p = 37, 0.1
    for truth in (0.01, 0.2, 0.5, 0.93):
        missed = sum(
            stats.binom.pmf(k, n, truth)
            for k in range(n + 1)
            if not (i := clopper_pearson(k, n, p=p, side=side)).lower <= truth <= i.upper
        )
        assert missed <= p


def test_clopper_pearson_refuses_what_is_no_count():
    with pytest.raises(ValueError, match="count"):
        clopper_pearson(5, 4, p=0.1)
    with pytest.raises(ValueError, match="side"):
        clopper_pearson(1, 4, p=0.1, side="left")


@pytest.mark.parametrize(("n", "k"), [(20, 2), (50, 30), (400, 5), (400, 200)])
def test_multinomial_radius_covers(n, k, rng):
    p, runs = 0.2, 1500
    for concentration in (0.2, 100.0):
        true = rng.dirichlet(np.full(k, concentration))
        counts = rng.multinomial(n, true, size=runs)
        distance = 0.5 * np.abs(counts / n - true).sum(axis=1)
        failures = int((distance > multinomial_tv_radius(n, k, p)).sum())
        assert failures <= most_failures(runs, p)
    # Uniform cells are nearly the worst case: a third of the radius would not do.
    short = int((distance > multinomial_tv_radius(n, k, p) / 3).sum())
    assert short > most_failures(runs, p)


def test_multinomial_radius_at_its_ends():
    assert multinomial_tv_radius(10, 1, 0.1) == 0.0
    assert multinomial_tv_radius(0, 5, 0.1) == 1.0
    assert multinomial_tv_radius(2, 10_000, 0.1) == 1.0
    with pytest.raises(ValueError, match="cells"):
        multinomial_tv_radius(10, 0, 0.1)


def test_bootstrap_covers_skewed_differences_at_its_level(rng):
    runs, level = 300, 0.9
    missed = 0
    for _ in range(runs):
        i = paired_bootstrap(rng.exponential(size=60) - 1.0, rng=rng, level=level, resamples=499)
        missed += not i.lower <= 0.0 <= i.upper
    assert 0.04 * runs < missed < 0.18 * runs


def test_bootstrap_agrees_with_scipys_bca(rng):
    differences = rng.gamma(2.0, size=80)
    ours = paired_bootstrap(differences, rng=np.random.default_rng(1), resamples=20_000)
    theirs = stats.bootstrap(
        (differences,), np.mean, n_resamples=20_000, rng=np.random.default_rng(2), method="BCa"
    ).confidence_interval
    assert (ours.lower, ours.upper) == pytest.approx((theirs.low, theirs.high), abs=0.02)
    assert ours.failure_probability is None


def test_bootstrap_edges(rng):
    assert paired_bootstrap([2.0, 2.0, 2.0], rng=rng) == Interval(2.0, 2.0, 2.0)
    assert paired_bootstrap([2.0], rng=rng) == Interval(2.0, -np.inf, np.inf)


def test_sign_flip_matches_all_flips_and_keeps_its_level(rng):
    differences = np.array([0.9, 0.4, -0.1, 0.7, 0.3, 0.8])
    signs = 2.0 * ((np.arange(64)[:, None] >> np.arange(6)) & 1) - 1.0
    exact = np.mean(np.abs(signs @ differences) >= abs(differences.sum()) - 1e-12)
    assert sign_flip_p_value(differences, rng=rng, resamples=20_000) == pytest.approx(
        exact, abs=0.01
    )
    p_values = [sign_flip_p_value(rng.standard_t(2, 15), rng=rng, resamples=99) for _ in range(500)]
    assert np.sum(np.array(p_values) <= 0.1) <= most_failures(500, 0.1)
    assert sign_flip_p_value(rng.normal(1.0, 1.0, 40), rng=rng) < 0.001
    assert sign_flip_p_value(np.zeros(5), rng=rng, resamples=99) == 1.0
