"""T19 against 40-digit flows, step-by-step descent, and losses that are not quadratic."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from theory.bound import Direction, Quantity, Status
from theory.onset import (
    Descent,
    Flow,
    OnsetScalars,
    expansion,
    moments,
    onset,
    onset_bounds,
    onset_exponent,
    onset_scalars,
    response,
)
from theory.problem import Known, QuadraticProblem


def avoiding(seed: int, n: int = 4) -> QuadraticProblem:
    """A problem whose task gradient lies in the kernel of H_s, exactly in float64.

    H_s is flat in coordinate 1, along which the task pulls; H_f turns the path out of it.
    """
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, n, n))
    task = a @ a.T / n + 0.1 * np.eye(n)
    safety = b @ b.T / n
    safety[0], safety[:, 0] = 0.0, 0.0
    return QuadraticProblem(safety, task, np.zeros(n), np.linalg.solve(task, np.eye(n)[0]))


def flow_in_40_digits(problem: QuadraticProblem, index: int, time: float) -> float:
    with mpmath.workdps(60):
        task = mpmath.matrix(problem.H_f[index].tolist())
        safety = mpmath.matrix(problem.H_s[index].tolist())
        d = mpmath.matrix(problem.theta_f[index].tolist()) - mpmath.matrix(
            problem.theta_s[index].tolist()
        )
        curvature, basis = mpmath.eigsy(task)
        along = basis.T * d
        largest = max(curvature)
        moved = mpmath.matrix(
            [
                -mpmath.expm1(-mpmath.mpf(time) * h) * c if h > largest * 1e-13 else 0
                for h, c in zip(curvature, along, strict=True)
            ]
        )
        moved = basis * moved
        return float((moved.T * safety * moved)[0] / 2)


def test_the_gap_agrees_with_forty_digits_from_tiny_times_to_the_end(rng, random_quadratic):
    problem = random_quadratic(rng, 60, full_rank=True)
    times = 10.0 ** rng.uniform(-12, 4, size=60) / problem.spectrum_f[:, -1]
    found = onset(problem, times).safety_gap
    truth = [flow_in_40_digits(problem, i, t) for i, t in enumerate(times)]
    np.testing.assert_allclose(found, truth, rtol=1e-8)


def test_descent_is_its_own_recursion(rng, random_quadratic):
    problem = random_quadratic(rng, 50)
    rates = rng.random((50, 12)) * 1.9 / problem.spectrum_f[:, -1:]
    rates[::7, 6:] = 0.0  # shorter runs
    theta = problem.theta_s.copy()
    for k in range(12):
        gradient = np.einsum("kij,kj->ki", problem.H_f, theta - problem.theta_f)
        theta = theta - rates[:, k : k + 1] * gradient
    d = theta - problem.theta_s
    truth = 0.5 * np.einsum("ki,kij,kj->k", d, problem.H_s, d)
    np.testing.assert_allclose(onset(problem, Descent(rates)).safety_gap, truth, rtol=1e-8)


def test_many_small_steps_are_the_flow():
    problem = avoiding(0)
    flow = onset(problem, 0.7).safety_gap
    off = [
        abs(onset(problem, Descent.constant(0.7 / k, k)).safety_gap / flow - 1) for k in (50, 500)
    ]
    assert off[0] / off[1] == pytest.approx(10, rel=0.05)
    assert off[1] < 0.02


def test_the_response_is_relative_accurate_and_knows_flat_directions():
    h = np.array([0.0, 1e-18, 1e-6, 1.0, 50.0])
    np.testing.assert_allclose(response(Flow(3.0), h)[:3], [3.0, 3.0, 3.0 - 4.5e-6], rtol=1e-11)
    assert response(Flow(3.0), h)[4] == pytest.approx(1 / 50, rel=1e-12)
    steps = Descent.constant(0.03, 100)
    np.testing.assert_allclose(response(steps, h)[:2], 3.0, rtol=1e-14)
    expected = (1 - (1 - 0.03 * h[3:]) ** 100) / h[3:]
    np.testing.assert_allclose(response(steps, h)[3:], expected, rtol=1e-12)


def test_the_moments_of_equal_rates_are_binomial():
    first, second, third = moments(Descent.constant(0.1, 7))
    assert first == pytest.approx(0.7)
    assert second == pytest.approx(0.01 * 7 * 6 / 2)
    assert third == pytest.approx(0.001 * 7 * 6 * 5 / 6)
    assert moments(Flow(2.0)) == (2.0, 2.0, 8.0 / 6.0)
    # Their order does not matter, zero rates are no steps.
    np.testing.assert_allclose(
        moments(Descent([0.3, 0.0, 0.1, 0.2])), moments(Descent([0.1, 0.2, 0.3])), rtol=1e-14
    )


@pytest.mark.parametrize("steps", [0, 1, 2, 9])
def test_the_expansion_misses_only_what_it_says(rng, random_quadratic, steps):
    """O(t^4) in general and O(t^5) if H_s g = 0: halving t divides the error by 16 and 32."""

    def path(t):
        return Descent.constant(t / steps, steps) if steps else Flow(t)

    general = QuadraticProblem(
        avoiding(1).H_s + np.eye(4), avoiding(1).H_f, np.zeros(4), np.ones(4)
    )
    for problem, order in ((general, 4), (avoiding(1), 5)):
        errors = []
        for t in (0.02, 0.01):
            found = onset(problem, path(t))
            errors.append(abs(found.expansion.total - found.safety_gap))
        if steps in (1, 2):
            # One step moves along g alone, two within span(g, H_f g): nothing is missing.
            assert max(errors) < 1e-15
        else:
            assert np.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.1)


def test_orthogonality_buys_a_quartic_onset_and_one_step_costs_nothing():
    problem = avoiding(2)
    scalars = onset_scalars(problem)
    assert scalars.pull < 1e-30
    for t in (1e-2, 1e-4):
        found = onset(problem, t)
        assert found.safety_gap == pytest.approx(t**4 / 8 * scalars.bend, rel=5 * t)
        assert abs(found.expansion.quadratic) + abs(found.expansion.cubic) < 1e-9 * t**4
    assert onset(problem, Descent.constant(0.1, 1)).safety_gap < 1e-30
    eta, steps = 1e-4, 6
    expected = eta**4 * steps**2 * (steps - 1) ** 2 / 8 * scalars.bend
    found = onset(problem, Descent.constant(eta, steps)).safety_gap
    assert found == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("kind", ["flow", "descent"])
def test_no_bound_is_violated(rng, random_quadratic, assert_valid, assert_mutant_caught, kind):
    n = 10_000
    problem = random_quadratic(rng, n)
    scale = 1.0 / problem.spectrum_f[:, -1]
    if kind == "flow":
        path = Flow(10.0 ** rng.uniform(-6, 2, size=n) * scale)
    else:
        rates = 10.0 ** rng.uniform(-5, 0.3, size=(n, 1)) * rng.random((n, 8)) * scale[:, None]
        path = Descent(rates)
    truth = onset(problem, path).safety_gap
    bounds = onset_bounds(problem, path)
    assert [(b.form, b.direction) for b in bounds] == [
        ("first order", Direction.UPPER),
        ("first order", Direction.LOWER),
        ("second order", Direction.UPPER),
        ("second order", Direction.LOWER),
        ("any time", Direction.UPPER),
    ]
    for b in bounds:
        assert (b.statement, b.quantity) == ("T19", Quantity.SAFETY_GAP)
        assert assert_valid(b, truth) == n
        assert set(np.unique(b.status)) <= {Status.CERTIFIED, Status.VACUOUS}
        assert_mutant_caught(b, truth)
    # Scalars alone say the same up to rounding, where their squares do not cancel.
    for b, other in zip(bounds, onset_bounds(onset_scalars(problem), path), strict=True):
        near = b.value > 1e-6 * bounds[-1].value
        np.testing.assert_allclose(other.value[near], b.value[near], rtol=1e-4)


def test_both_sides_meet_as_time_goes_to_zero(rng, random_quadratic):
    problem = random_quadratic(rng, 500, full_rank=True)
    scale = 1.0 / problem.spectrum_f[:, -1]
    widths = []
    for t in (1e-6, 1e-7):
        found = onset(problem, t * scale)
        value = {(b.form, b.direction): b.value for b in onset_bounds(problem, t * scale)}
        widths.append(
            [
                np.median(
                    (value[form, Direction.UPPER] - value[form, Direction.LOWER]) / found.safety_gap
                )
                for form in ("first order", "second order")
            ]
        )
    assert widths[1][0] == pytest.approx(widths[0][0] / 10, rel=0.05)
    assert widths[1][0] < 1e-5
    assert widths[1][1] < 1e-5


def test_the_second_order_is_tight_where_the_gradient_avoids_the_safety_curvature():
    for seed in range(20):
        problem, t = avoiding(seed), 1e-4
        truth = onset(problem, t).safety_gap
        value = {(b.form, b.direction): b.value for b in onset_bounds(problem, t)}
        assert truth <= value["second order", Direction.UPPER] <= 1.02 * truth
        assert 0.98 * truth <= value["second order", Direction.LOWER] <= truth
        # The first order cannot see which way H_f g points.
        assert value["first order", Direction.LOWER] == 0.0
        assert value["first order", Direction.UPPER] >= truth


def test_any_time_is_attained_by_one_coordinate_and_stays_finite():
    problem = QuadraticProblem([[3.0]], [[0.5]], [0.0], [2.0])
    for t in (1e-5, 1e4):
        found = onset_bounds(problem, t)[-1].value
        assert found == pytest.approx(onset(problem, t).safety_gap, rel=1e-5)
    # A step of 2 / h jumps over the minimiser, twice as far as it lay.
    jump = Descent([4.0 - 1e-9])
    assert onset(problem, jump).safety_gap == pytest.approx(0.5 * 3.0 * 4.0**2)
    assert onset_bounds(problem, jump)[-1].value == pytest.approx(24.0)


def test_after_a_long_time_only_the_distance_bounds_the_gap(rng, random_quadratic, assert_valid):
    problem = random_quadratic(rng, 50)
    end = 0.5 * np.einsum("ki,kij,kj->k", problem.displacement, problem.H_s, problem.displacement)
    for time in (1e9, 1e120, 1e200):
        found = onset(problem, time).safety_gap
        assert np.isfinite(found).all()
        *expanded, whole = onset_bounds(problem, time)
        assert assert_valid(whole, found) == 50
        assert (whole.status == Status.CERTIFIED).all()
        assert (whole.value >= end * (1 - 1e-12)).all()
        for b in expanded:
            assert not np.isnan(b.value).any()
            if time > 1e100:
                assert (b.status[found > 0] == Status.VACUOUS).all()


def test_unstable_rates_and_a_sloping_safety_loss_are_not_covered():
    problem = avoiding(3)
    rate = 2.1 / problem.spectrum_f[-1]
    assert {b.status for b in onset_bounds(problem, Descent([rate]))} == {Status.NOT_APPLICABLE}
    scalars = OnsetScalars(1.0, 0.1, 0.2, 1.0, 1.0, 1.0, 2.0, 2.0, slope=0.3)
    for b in onset_bounds(scalars, 0.1):
        assert b.status is Status.NOT_APPLICABLE
        assert "slope" in b.failed


def test_measured_scalars_never_certify():
    measured = OnsetScalars(1.0, 0.1, 0.2, 1.0, 1.0, 1.0, 2.0, 2.0)
    assert {b.status for b in onset_bounds(measured, 0.1)} == {Status.ESTIMATED}
    assert onset_bounds(measured, 0.1)[-1].value == pytest.approx(0.5 * 2.0 * 0.1**2)
    given = OnsetScalars(1.0, 0.1, 0.2, 1.0, 1.0, 1.0, 2.0, 2.0, known=Known.GIVEN)
    assert {b.status for b in onset_bounds(given, 0.1)} == {Status.CERTIFIED}
    # No safety curvature at all, unknown distance: no inf times 0.
    flat = OnsetScalars(0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 2.0)
    assert [b.value for b in onset_bounds(flat, 0.1)] == [0.0] * 5


def test_a_slope_of_the_safety_loss_makes_the_onset_linear():
    """f_s = p'd + 1/2 d'H_s d: the change itself, from the definition, against the expansion."""
    problem, p = avoiding(4), np.array([0.3, -0.2, 0.1, 0.5])
    safety = problem.H_s + np.eye(4)
    d0, task = problem.displacement, problem.H_f
    g = -task @ d0
    scalars = OnsetScalars(
        pull=g @ safety @ g,
        turn=g @ safety @ task @ g,
        bend=g @ task @ safety @ task @ g,
        gradient=np.linalg.norm(g),
        second=np.linalg.norm(task @ g),
        third=np.linalg.norm(task @ task @ g),
        smoothness_safety=1.0,
        smoothness_task=1.0,
        slope=p @ g,
        slope_turn=p @ task @ g,
    )
    t = 1e-3
    h, q = np.linalg.eigh(task)
    d = q @ (-np.expm1(-t * h) * (q.T @ d0))
    truth = p @ d + 0.5 * d @ safety @ d
    found = expansion(scalars, t)
    assert found.linear == pytest.approx(-t * (p @ g))
    assert found.linear + found.quadratic == pytest.approx(truth, abs=20 * t**3)
    assert abs(found.linear - truth) > 100 * t**3


@pytest.mark.parametrize(("avoids", "power"), [(False, 2), (True, 4)])
def test_the_onset_of_a_task_loss_that_is_not_quadratic(avoids, power):
    """Logistic task loss, flow by an ODE solver: the exponent and its constant."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=(12, 4))
    half = rng.normal(size=(4, 4))
    safety = half @ half.T

    def gradient(theta):
        return -x.T @ (1.0 / (1.0 + np.exp(x @ theta))) / 12

    g = gradient(np.zeros(4))
    if avoids:
        along = np.eye(4) - np.outer(g, g) / (g @ g)
        safety = along @ safety @ along
    times = np.geomspace(0.003, 0.03, 6)
    flow = solve_ivp(
        lambda _, theta: -gradient(theta),
        (0.0, times[-1]),
        np.zeros(4),
        t_eval=times,
        rtol=1e-12,
        atol=1e-14,
        method="DOP853",
    ).y
    gaps = 0.5 * np.einsum("it,ij,jt->t", flow, safety, flow)
    task = x.T @ x / 48  # the Hessian at 0
    c = g @ task @ safety @ task @ g / 8 if avoids else g @ safety @ g / 2
    assert gaps[0] == pytest.approx(c * times[0] ** power, rel=0.01)
    fitted = onset_exponent(times, gaps)
    assert fitted.exponent.estimate == pytest.approx(power, abs=0.02)
    # The other exponent is far outside.
    assert not fitted.exponent.lower <= 6 - power <= fitted.exponent.upper


def test_the_exponent_of_noisy_checkpoints_has_an_honest_interval():
    rng = np.random.default_rng(6)
    times = np.array([10, 20, 30, 40.0])
    errors = np.full(4, 0.02)
    hits = 0
    for _ in range(500):
        gaps = 1e-3 * times**2 + errors * rng.normal(size=4)
        found = onset_exponent(times, gaps, errors=errors).exponent
        hits += found.lower <= 2.0 <= found.upper
    assert hits / 500 >= 0.88
    assert onset_exponent(times, [-0.01, 0.4, 0.9, 1.6]).left_out == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Flow(-1.0), "time"),
        (lambda: Flow(np.inf), "time"),
        (lambda: Descent([0.1, -0.1]), "rates"),
        (lambda: Descent([]), "one rate"),
        (lambda: Descent.constant(0.1, 0), "steps"),
        (lambda: OnsetScalars(-1.0, 0, 0, 0, 0, 0, 0, 0), "pull is negative"),
        (lambda: OnsetScalars(1.0, np.nan, 0, 0, 0, 0, 0, 0), "turn is NaN"),
        (lambda: OnsetScalars(*[1.0] * 8, known=Known.HIGH_PROBABILITY), "given or estimated"),
        (lambda: onset_exponent([1.0, 2.0], [0.1, 0.0]), "two different"),
    ],
)
def test_bad_input_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
