"""The mean of losses by betting: valid at any time, exact on zeros, near the best limit (T23)."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy import stats

from theory.certificates.betting import log_capital, mean_p_value, mean_upper_limit
from theory.certificates.rates import rate_upper_limit

losses = npst.arrays(np.float64, st.integers(1, 40), elements=st.floats(-1.0, 1.0, width=16))
bounds = st.floats(-0.99, 0.98)


@settings(max_examples=15, deadline=None)
@given(losses, bounds)
def test_the_p_value_only_falls_as_more_is_read_and_as_the_bound_rises(d, bound) -> None:
    read = [mean_p_value(d[:n], bound) for n in sorted({1, 2, d.size // 2 + 1, d.size})]
    assert all(later <= one * (1 + 1e-12) for one, later in pairwise(read))
    assert 0.0 <= read[-1] <= read[0] <= 1.0
    assert mean_p_value(d, bound + 0.01) <= read[-1] * (1 + 1e-12)


@settings(max_examples=15, deadline=None)
@given(losses, st.floats(0.5, 0.999))
def test_the_limit_is_the_least_bound_that_is_rejected(d, confidence) -> None:
    limit = mean_upper_limit(d, confidence)
    if limit < 1.0:
        assert mean_p_value(d, limit) <= 1.0 - confidence
    if limit > -0.99:
        assert mean_p_value(d, limit - 1e-6) > 1.0 - confidence


@settings(max_examples=15, deadline=None)
@given(losses, bounds)
def test_the_capital_is_followed_step_by_step(d, bound) -> None:
    """The same capital, each bet alone and without logarithms, however often it is read."""
    logits = np.linspace(-4.0, 5.0, 28)
    bell = np.exp(-((logits - 1.0) ** 2) / 4.5) + 0.02
    fractions = np.append(1 / (1 + np.exp(-logits)), 1.0)
    capital = np.append(0.8 * bell / bell.sum(), 0.2)
    most = 0.0
    for one in d:
        capital = capital * (1 + fractions * (bound - one) / (1 - bound))
        most = max(most, capital.sum())
    assert mean_p_value(d, bound) == pytest.approx(min(1.0, 1.0 / max(most, 1.0)), rel=1e-6)


@pytest.mark.parametrize("bound", [0.01, 0.02, 0.1])
def test_zeros_need_hardly_more_probes_than_the_exact_test(bound: float) -> None:
    level = 0.05
    exact = math.ceil(math.log(1 / level) / -math.log1p(-bound))
    n = 1 + int(
        np.argmax(log_capital([0.0], np.arange(1, 5 * exact)[:, None], bound) >= -np.log(level))
    )
    assert exact < n <= 1.3 * exact
    assert (bound, n) == (0.02, 180) or bound != 0.02  # as docs/theorems.md says


def test_an_all_or_nothing_loss_is_not_certified() -> None:
    assert mean_upper_limit(np.ones(1000), 0.95) == 1.0
    assert mean_p_value(np.ones(1000), 0.5) == 1.0
    assert mean_upper_limit(-np.ones(1000), 0.95) < -0.98


def test_rejections_at_the_boundary_are_no_more_than_the_level_however_often_it_is_read(rng):
    level, bound, n, runs = 0.1, 0.05, 300, 500
    for gained in (0.0, 0.1):
        d = rng.choice(
            [-1.0, 0.0, 1.0], p=[gained, 1 - bound - 2 * gained, bound + gained], size=(runs, n)
        )
        failures = sum(mean_p_value(row, bound) <= level for row in d)
        assert failures <= stats.binom.ppf(1 - 1e-4, runs, level)
        # Reading again and again without Ville's guard fails far more often.
        counts = (d > 0).cumsum(axis=1)
        if gained == 0.0:
            reading = np.arange(20, n + 1, 10)
            naive = (stats.binom.cdf(counts[:, reading - 1], reading, bound) <= level).any(axis=1)
            assert naive.sum() > stats.binom.ppf(1 - 1e-4, runs, level)


def test_the_limit_is_near_the_exact_one_where_that_exists(rng) -> None:
    ratios = []
    for _ in range(20):
        d = (rng.random(1_000) < 0.02).astype(float)
        ratios.append(mean_upper_limit(d, 0.95) / rate_upper_limit(int(d.sum()), 1_000, 0.95))
    assert 1.0 < np.mean(ratios) < 1.4


@pytest.mark.parametrize(
    ("d", "bound", "message"),
    [
        ([0.0, 1.5], 0.1, "leave"),
        ([], 0.1, "n >= 1"),
        ([np.nan], 0.1, "NaN"),
        ([0.0], 1.0, "bound"),
        ([0.0], -1.1, "bound"),
    ],
)
def test_what_is_no_loss_or_bound_is_rejected(d, bound, message) -> None:
    with pytest.raises(ValueError, match=message):
        mean_p_value(d, bound)


def test_a_certain_confidence_is_rejected() -> None:
    with pytest.raises(ValueError, match="probability"):
        mean_upper_limit([0.0], 1.0)
