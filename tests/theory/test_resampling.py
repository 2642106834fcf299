"""One bootstrap: its interval is numpy's quantiles, and equal rows are not known for certain."""

import numpy as np
import pytest

from theory.confidence import Interval, clopper_pearson
from theory.resampling import (
    interval_of_equals,
    percentile_interval,
    ratio_of_sums,
    resampled_counts,
    resampled_rows,
)


def test_the_interval_is_that_of_the_quantiles():
    draws = np.random.default_rng(0).normal(size=1000)
    found = percentile_interval(0.1, draws, level=0.9)
    assert (found.lower, found.upper) == pytest.approx(tuple(np.quantile(draws, [0.05, 0.95])))
    assert percentile_interval(9.0, draws).upper < 9.0
    assert percentile_interval(9.0, draws, hold=True).upper == 9.0


def test_undefined_draws_make_the_whole_line_or_are_dropped():
    draws = [0.0, 1.0, np.nan, 2.0]
    line = Interval(1.0, -np.inf, np.inf)
    assert percentile_interval(1.0, draws) == line
    kept = percentile_interval(1.0, draws, undefined="drop")
    assert kept == percentile_interval(1.0, [0.0, 1.0, 2.0])
    assert percentile_interval(1.0, [np.nan], undefined="drop") == line
    assert percentile_interval(np.nan, [1.0, 2.0]).upper == np.inf


def test_draws_are_of_whole_resamples():
    rows = resampled_rows(5, np.random.default_rng(0), 200)
    counts = resampled_counts(5, np.random.default_rng(0), 200)
    assert rows.shape == counts.shape == (200, 5)
    assert set(np.unique(rows)) == set(range(5))
    assert (counts.sum(axis=1) == 5).all()


@pytest.mark.parametrize("n", [1, 6, 500])
def test_equal_rows_leave_room_for_the_share_that_none_of_n_rules_out(n):
    found = interval_of_equals(0.0, n, span=1.0)
    assert found.upper == pytest.approx(clopper_pearson(0, n, p=0.05).upper)
    assert found.lower == -found.upper
    assert interval_of_equals(0.0, n, span=None) == Interval(0.0, -np.inf, np.inf)


def test_equal_rows_cover_a_population_of_rarely_other_ones():
    """Where a share q of the rows is off by 1, a sample of equals holds the mean q or is rare."""
    rng, n = np.random.default_rng(1), 20
    for q in (0.02, 0.1, 0.2):
        samples = rng.random((4000, n)) < q
        equal = ~samples.any(axis=1)
        missed = equal.mean() if interval_of_equals(0.0, n, span=1.0).upper < q else 0.0
        assert missed <= 0.025


def test_the_influence_on_a_ratio_has_the_ratio_s_spread() -> None:
    rng = np.random.default_rng(0)
    count = rng.integers(1, 30, size=(4000, 60)).astype(float)
    part = count * rng.gamma(2.0, size=count.shape)
    ratios = part.sum(axis=1) / count.sum(axis=1)
    found = [ratio_of_sums(p, c) for p, c in zip(part, count, strict=True)]
    np.testing.assert_allclose([ratio for ratio, _ in found], ratios)
    np.testing.assert_allclose(found[0][1].mean(), 0.0, atol=1e-12)
    errors = [np.sqrt((rows**2).sum()) / len(rows) for _, rows in found]
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(ratios.std(), rel=0.05)
