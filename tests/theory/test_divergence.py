"""Divergences: right at zeros, accurate relative to their own size however small."""

import mpmath
import numpy as np
import pytest
from scipy.special import rel_entr

from theory.divergence import (
    chi_square,
    kl,
    kl_shift,
    mass_sum,
    tv,
    x_minus_log1p,
)


def test_kl_agrees_with_scipy_and_is_infinite_where_mass_is_missed(rng):
    p, q = rng.dirichlet(np.ones(5), 200), rng.dirichlet(np.ones(5), 200)
    p[:50, 0] = 0.0
    p[:50] /= p[:50].sum(axis=1, keepdims=True)
    np.testing.assert_allclose(kl(p, q), rel_entr(p, q).sum(axis=1), rtol=1e-12)
    assert np.all(np.isinf(kl(q[:50], p[:50])))


@pytest.mark.parametrize(
    ("p", "q", "expected"),
    [
        ([0.0, 1.0], [0.0, 1.0], 0.0),
        ([0.0, 1.0], [0.5, 0.5], np.log(2)),
        ([0.5, 0.5], [0.0, 1.0], np.inf),
        ([1e-310, 1.0], [0.5, 0.5], np.log(2)),
    ],
)
def test_kl_of_edge_cases(p, q, expected):
    assert kl(p, q) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("size", [1e-12, 1e-8, 1e-4, 0.1])
def test_kl_shift_keeps_relative_accuracy_for_tiny_shifts(rng, size):
    p = rng.dirichlet(np.ones(4), 20)
    other = rng.dirichlet(np.ones(4), 20)
    shift = size * (other - p)
    with mpmath.workdps(50):
        for row_p, row_shift, value in zip(p, shift, kl_shift(p, shift, p + shift), strict=True):
            # The generalised divergence: the rows sum to 1 only up to float64 rounding.
            terms = [
                mpmath.mpf(a) * (mpmath.mpf(d) / a - mpmath.log1p(mpmath.mpf(d) / a))
                for a, d in zip(map(float, row_p), map(float, row_shift), strict=True)
            ]
            assert value == pytest.approx(float(mpmath.fsum(terms)), rel=1e-13)


def test_x_minus_log1p_meets_its_series_and_its_pole():
    x = np.array([-1.0, -0.3, -1e-9, 0.0, 1e-9, 0.3, 0.30001, 5.0])
    with mpmath.workdps(50):
        exact = [float(v - mpmath.log1p(v)) if v > -1 else np.inf for v in map(mpmath.mpf, x)]
    np.testing.assert_allclose(x_minus_log1p(x), exact, rtol=1e-13)


def test_chi_square_and_tv_closed_forms():
    assert tv([1.0, 0.0], [0.0, 1.0]) == 1.0
    assert chi_square([0.5, 0.5], [0.25, 0.75]) == pytest.approx(0.0625 / 0.25 + 0.0625 / 0.75)
    assert chi_square([0.5, 0.5], [0.0, 1.0]) == np.inf


def test_no_mass_times_infinity_is_nothing():
    assert mass_sum([0.0, 1.0], [np.inf, 2.0]) == 2.0
