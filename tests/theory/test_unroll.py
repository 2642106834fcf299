"""T20: the arithmetic is exact on power laws, and a real unroll of a quadratic obeys it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from theory.onset import Descent, Flow, onset
from theory.power_law import fit_power_law
from theory.problem import QuadraticProblem
from theory.unroll import (
    displacement_law,
    interval,
    matching_rate,
    radius_correction,
    richardson,
)


@pytest.mark.parametrize("b", [0.5, 0.8, 1.0])
def test_the_matching_rate_is_exact_on_power_laws(b):
    steps = np.array([1, 2, 4, 8])
    rates = np.array([1e-4, 3e-4, 5e-4, 5e-4])  # mean rates during a warm-up
    displacements = 7.0 * rates * steps**b
    law = displacement_law(displacements, rates, steps)
    assert law.exponent.estimate == pytest.approx(b, rel=1e-12)
    assert law.coefficient == pytest.approx(7.0, rel=1e-12)
    target = 5e-4 * law(1000)
    assert target == pytest.approx(7.0 * 5e-4 * 1000**b, rel=1e-11)
    rate = matching_rate(displacements, rates, steps, target, coarse_steps=5)
    assert rate == pytest.approx(5e-4 * 200**b, rel=1e-11)


def problem(seed: int = 0) -> QuadraticProblem:
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, 4, 4)) / 2
    return QuadraticProblem(a @ a.T, b @ b.T, np.zeros(4), rng.normal(size=4))


def test_few_large_steps_with_the_matched_rate_forecast_many_small_ones():
    """Gradient descent on a quadratic: 5 steps for 200, and 10 for the path's error."""
    found = []
    for seed in range(20):
        p = problem(seed)
        rate = 0.002
        first = [np.linalg.norm(displacement(p, Descent.constant(rate, k))) for k in range(1, 6)]
        law = displacement_law(first, rate, np.arange(1, 6))
        gaps = []
        for k in (5, 10):
            coarse = matching_rate(
                first, rate, np.arange(1, 6), float(rate * law(200)), coarse_steps=k
            )
            gaps.append(float(onset(p, Descent.constant(coarse, k)).safety_gap))
        truth = float(onset(p, Descent.constant(rate, 200)).safety_gap)
        errors = np.abs([gaps[0] / truth - 1, richardson(*gaps) / truth - 1])
        found.append(errors)
    plain, extrapolated = np.median(found, axis=0)
    assert plain < 0.15
    # What is left is the law's error in the radius, which no number of steps mends.
    assert extrapolated < plain / 2


def displacement(p: QuadraticProblem, path: Descent) -> np.ndarray:
    theta = p.theta_s
    for rate in path.rates:
        theta = theta - rate * p.H_f @ (theta - p.theta_f)
    return theta - p.theta_s


def test_richardson_is_exact_on_a_power_of_the_step_count():
    truth, steps = 0.4, np.array([3, 6, 12])
    for order in (1.0, 1.5, 2.0):
        values = truth + 0.7 * steps**-order
        assert richardson(values[0], values[1], order) == pytest.approx(truth, rel=1e-13)
        by_four = richardson(values[0], values[2], order, ratio=4.0)
        assert by_four == pytest.approx(truth, rel=1e-13)
    # The wrong order is not exact.
    assert abs(richardson(truth + 0.7 / 3, truth + 0.7 / 6, 2.0) - truth) > 0.05


def test_richardson_raises_the_order_of_gradient_descent_from_one_to_two():
    p = problem()
    truth = onset(p, 1.0).safety_gap
    steps = np.array([20, 40, 80])
    gaps = [onset(p, Descent.constant(1.0 / k, k)).safety_gap for k in steps]
    raw = np.abs(np.array(gaps) - truth)
    better = np.abs([richardson(gaps[i], gaps[i + 1]) - truth for i in range(2)])
    assert raw[0] / raw[1] == pytest.approx(2.0, abs=0.1)
    assert better[0] / better[1] == pytest.approx(4.0, abs=0.4)
    assert onset(p, Flow(1.0)).safety_gap == truth


def test_the_radius_is_corrected_exactly_on_its_own_form():
    r, target = 1.3, np.array([0.9, 1.3, 2.0])
    for p in (1.0, 2.0, 4.0):
        corrected = radius_correction(3.0 * r**p, 3.0 * p * r ** (p - 1), r, target, form="power")
        np.testing.assert_allclose(corrected, 3.0 * target**p, rtol=1e-13)
    np.testing.assert_allclose(
        radius_correction(2.0 - r, -1.0, r, target), 2.0 - target, rtol=1e-13
    )
    # A fall of the loss keeps its sign in both forms, and both agree to first order.
    near = r * (1 + 1e-6)
    both = [radius_correction(-0.2, -0.3, r, near, form=f) for f in ("linear", "power")]
    assert both[0] == pytest.approx(both[1], abs=1e-11)
    assert both[1] < 0


def test_the_interval_is_students():
    samples = np.array([0.1, 0.4, 0.2, 0.35])
    found = interval(samples, 0.9)
    low, high = stats.t.interval(0.9, 3, samples.mean(), samples.std(ddof=1) / 2)
    assert (found.lower, found.upper) == pytest.approx((low, high), rel=1e-12)
    assert found.failure_probability is None
    # One seed each on the subsamples is the same.
    assert interval(samples[:, None], 0.9) == found


def test_a_new_run_differs_by_its_subsample_and_by_its_seed():
    found = interval([[0.0, 2.0], [1.0, 3.0]], 0.9, new_run=True)
    # Means 1 and 2: variance 1/2, of their mean 1/4; a seed's variance 2, half of it in the means.
    half = stats.t.ppf(0.95, 1) * np.sqrt(0.25 + 0.5 + 2.0 * 0.5)
    assert (found.lower, found.upper) == pytest.approx((1.5 - half, 1.5 + half), rel=1e-12)


def test_one_repetition_says_nothing_and_two_say_little():
    assert interval([0.3]).lower == -np.inf
    assert interval([[0.3, 0.4, 0.5]]).upper == np.inf  # one subsample, whatever the seeds
    few, many = interval([0.0, 1.0]), interval([0.0, 1.0] * 5)
    assert few.upper - few.lower > 10 * (many.upper - many.lower)


@pytest.mark.parametrize(("n", "seeds"), [(3, 1), (6, 1), (4, 3)])
def test_intervals_cover_as_often_as_they_say(n, seeds):
    """Nested repetitions: a subsample's effect and a seed's; for the mean and for one new run."""
    rng = np.random.default_rng(n + seeds)
    trials, level = 2500, 0.9
    hits = np.zeros(2)
    pooled = 0
    for _ in range(trials):
        draws = 2.0 + rng.normal(size=(n, 1)) + 0.5 * rng.normal(size=(n, seeds))
        new = 2.0 + rng.normal() + 0.5 * rng.normal()
        for i, truth in enumerate((2.0, new)):
            found = interval(draws, level, new_run=bool(i))
            hits[i] += found.lower <= truth <= found.upper
        flat = interval(draws.ravel(), level)
        pooled += flat.lower <= 2.0 <= flat.upper
    share = hits / trials
    assert share[0] == pytest.approx(level, abs=0.02)
    assert level - 0.02 <= share[1] <= level + (0.035 if seeds > 1 else 0.02)
    if seeds > 1:  # seeds taken for independent runs would cover far too seldom
        assert pooled / trials < 0.8


def test_a_power_law_reports_what_it_left_out_and_how_sure_it_is():
    x = np.array([1.0, 2.0, 4.0, 8.0, 16.0])
    y = 0.3 * x**2.0
    clean = fit_power_law(x, y)
    assert clean.exponent.estimate == pytest.approx(2.0, rel=1e-12)
    assert clean.exponent.upper - clean.exponent.lower < 1e-9
    y[0] = -0.01
    assert (fit_power_law(x, y).used, fit_power_law(x, y).left_out) == (4, 1)
    assert fit_power_law(x[:2], x[:2]).exponent.upper == np.inf
    # Known errors widen an interval that a lucky fit would make too narrow.
    assert fit_power_law(x, 0.3 * x**2, errors=0.03 * x**2).exponent.upper > 2.05


def test_the_exponents_interval_covers_as_often_as_it_says():
    rng = np.random.default_rng(3)
    x = np.geomspace(1, 30, 6)
    truth = 0.5 * x**2
    errors = 0.03 * truth * np.array([3.0, 2.0, 1.0, 1.0, 0.5, 0.5])
    hits = np.zeros(2)
    for _ in range(2000):
        y = truth + errors * rng.normal(size=6)
        even = truth * np.exp(0.03 * rng.normal(size=6))
        for i, found in enumerate((fit_power_law(x, y, errors=errors), fit_power_law(x, even))):
            hits[i] += found.exponent.lower <= 2.0 <= found.exponent.upper
    assert hits[0] / 2000 >= 0.885  # the larger of two standard errors errs on the safe side
    assert hits[1] / 2000 == pytest.approx(0.9, abs=0.025)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: displacement_law([1.0, -1.0], 0.1, [1, 2]), "displacements"),
        (lambda: displacement_law([1.0, 2.0], 0.0, [1, 2]), "rates"),
        (lambda: displacement_law([1.0, 2.0], 0.1, [2, 2]), "two different"),
        (lambda: matching_rate([1.0, 2.0], 0.1, [1, 2], 0.0, coarse_steps=2), "target"),
        (lambda: matching_rate([1.0, 2.0], 0.1, [1, 2], 1.0, coarse_steps=0), "coarse_steps"),
        (lambda: radius_correction(1.0, 1.0, 0.0, 1.0), "radii"),
        (lambda: radius_correction(np.nan, 1.0, 1.0, 1.0), "finite"),
        (lambda: radius_correction(0.0, 1.0, 1.0, 1.0, form="power"), "exponent"),
        (lambda: radius_correction(1.0, 1.0, 1.0, 1.0, form="cubic"), "form"),
        (lambda: richardson(1.0, 2.0, 0.0), "order"),
        (lambda: richardson(1.0, 2.0, 1.0, ratio=1.0), "ratio"),
        (lambda: interval([]), "at least one"),
        (lambda: interval([np.inf]), "NaN"),
        (lambda: interval([1.0, 2.0], 1.0), "level"),
        (lambda: fit_power_law([0.0, 1.0], [1.0, 1.0]), "greater than 0"),
        (lambda: fit_power_law([1.0, 2.0], [1.0, np.nan]), "finite y"),
        (lambda: fit_power_law([1.0, 2.0], [1.0, 1.0], errors=[1.0, 0.0]), "errors"),
        (lambda: fit_power_law([1.0, 2.0], [1.0, 1.0, 1.0]), "one length"),
        (lambda: fit_power_law([1.0, 2.0], [1.0, 1.0], level=0.0), "level"),
        (lambda: fit_power_law([1.0, 2.0, 3.0], [1.0, -1.0, 0.0]), "two different"),
    ],
)
def test_bad_input_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
