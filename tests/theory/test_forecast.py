"""T16: the kernel's forecast against dense algebra, and exact where the losses are quadratic."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.optimize import minimize

from theory.bound import Status
from theory.exact import exact
from theory.forecast import Forecast, Kernel, Population, forecast
from theory.onset import Descent, Flow
from theory.problem import QuadraticProblem
from theory.strategy import Hybrid, LossConstraint, ParameterConstraint


class Dense:
    """Rows ``J [n, dimension]`` of task, proxy and safety, and the same model in full."""

    def __init__(self, seed: int, dimension: int = 6, counts=(4, 3, 5), rank: int | None = None):
        rng = np.random.default_rng(seed)
        n = sum(counts)
        self.rows = rng.normal(size=(n, dimension))
        if rank is not None:
            self.rows = (
                self.rows @ rng.normal(size=(dimension, rank)) @ rng.normal(size=(rank, dimension))
            )
        ends = np.cumsum((0, *counts))
        self.parts = [
            Population(
                np.arange(ends[i], ends[i + 1]),
                rng.random(counts[i]) + 0.1,
                rng.normal(size=counts[i]),
            )
            for i in range(3)
        ]
        task, proxy, safety = self.parts
        self.kernel = Kernel(self.rows @ self.rows.T, task=task, proxy=proxy, safety=safety)

    def quadratic(self, which: int):
        part = self.parts[which]
        rows = self.rows[part.rows]
        return rows.T @ np.diag(part.weight) @ rows, rows.T @ part.slope

    def changes(self, d):
        return np.array([g @ d + 0.5 * d @ h @ d for h, g in map(self.quadratic, range(3))])

    def objective(self, lam, ridge):
        (task, g), (proxy, p) = self.quadratic(0), self.quadratic(1)
        return task + lam * proxy + ridge * np.eye(len(g)), g + lam * p


def assert_agrees(found: Forecast, dense: Dense, d: np.ndarray, rel: float = 1e-9):
    task, proxy, safety = dense.changes(d)
    assert found.task_change == pytest.approx(task, rel=rel, abs=rel)
    assert found.proxy_change == pytest.approx(proxy, rel=rel, abs=rel)
    assert found.safety_change == pytest.approx(safety, rel=rel, abs=rel)
    assert found.displacement == pytest.approx(np.linalg.norm(d), rel=rel, abs=rel)
    np.testing.assert_allclose(found.row_change, dense.rows @ d, rtol=rel, atol=rel)


# More coordinates than rows, as in a model; as many; and rows that depend on one another.
SHAPES = [
    {"dimension": 40},
    {"dimension": 12},
    {"dimension": 6},
    {"dimension": 20, "rank": 3},
]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("ridge", [0.0, 0.3])
@pytest.mark.parametrize("lam", [0.0, 1e-3, 0.7, 50.0])
def test_the_loss_constraint_is_the_dense_newton_step(shape, ridge, lam):
    dense = Dense(1, **shape)
    matrix, gradient = dense.objective(lam, ridge)
    d = -np.linalg.pinv(matrix, rcond=1e-10) @ gradient
    assert_agrees(forecast(dense.kernel, lam=lam, ridge=ridge), dense, d)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("lam", [0.0, 0.7])
def test_the_radius_is_met_by_the_secular_equation(shape, lam):
    dense = Dense(2, **shape)
    matrix, gradient = dense.objective(lam, 0.0)
    free = float(forecast(dense.kernel, lam=lam).displacement)
    radii = np.array([1e-8, 1e-3, 0.1, 0.9, 0.999, 1.0001, 10.0]) * free
    found = forecast(dense.kernel, lam=lam, radius=radii)
    np.testing.assert_allclose(found.displacement, np.minimum(radii, free), rtol=1e-9)
    for i, radius in enumerate(radii):
        # The dense multiplier by bisection; d(nu) from a plain solve.
        low, high = 0.0, np.linalg.norm(gradient) / radius
        if radius < free:
            for _ in range(200):
                nu = 0.5 * (low + high)
                d = -np.linalg.solve(matrix + nu * np.eye(len(gradient)), gradient)
                low, high = (nu, high) if np.linalg.norm(d) > radius else (low, nu)
        else:
            d = -np.linalg.pinv(matrix, rcond=1e-10) @ gradient
        expected = dense.changes(d)
        np.testing.assert_allclose(
            [found.task_change[i], found.proxy_change[i], found.safety_change[i]],
            expected,
            rtol=1e-8,
            atol=1e-12,
        )


def test_no_step_in_the_ball_does_better():
    """An optimiser that knows nothing of kernels, and random steps."""
    dense = Dense(3, dimension=8)
    rng = np.random.default_rng(0)
    for lam, radius in ((0.0, 0.3), (1.0, 0.2)):
        matrix, gradient = dense.objective(lam, 0.0)

        def value(d, matrix=matrix, gradient=gradient):
            return gradient @ d + 0.5 * d @ matrix @ d

        found = forecast(dense.kernel, lam=lam, radius=radius)
        reached = float(found.task_change + lam * found.proxy_change)
        ball = {"type": "ineq", "fun": lambda d, r=radius: r**2 - d @ d}
        best = minimize(value, np.full(8, 0.01), constraints=[ball], method="SLSQP", tol=1e-14)
        assert reached == pytest.approx(best.fun, rel=1e-6)
        for _ in range(200):
            d = rng.normal(size=8)
            assert value(radius * d / np.linalg.norm(d)) >= reached


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("steps", [1, 7, 400])
def test_early_stopping_is_gradient_descent_itself(shape, steps):
    dense = Dense(4, **shape)
    lam, ridge = 0.5, 0.1
    matrix, gradient = dense.objective(lam, ridge)
    rate = 0.8 / np.linalg.eigvalsh(matrix)[-1]
    d = np.zeros(len(gradient))
    for _ in range(steps):
        d = d - rate * (gradient + matrix @ d)
    found = forecast(dense.kernel, lam=lam, ridge=ridge, path=Descent.constant(rate, steps))
    assert_agrees(found, dense, d)


def test_stopping_late_is_not_stopping_and_flow_is_the_limit_of_steps():
    dense = Dense(5, dimension=6)
    end = forecast(dense.kernel, lam=0.5)
    late = forecast(dense.kernel, lam=0.5, path=Flow(1e7))
    assert late.task_change == pytest.approx(end.task_change, rel=1e-9)
    flow = forecast(dense.kernel, lam=0.5, path=Flow(0.02))
    many = forecast(dense.kernel, lam=0.5, path=Descent.constant(0.02 / 5000, 5000))
    assert many.safety_change == pytest.approx(flow.safety_change, rel=1e-3)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("radius", [np.inf, 5.0, 0.2])
@pytest.mark.parametrize("ridge", [0.0, 0.1])
def test_an_infinite_lambda_is_the_limit_of_large_ones(shape, radius, ridge):
    dense = Dense(6, **shape)
    limit = forecast(dense.kernel, lam=np.inf, radius=radius, ridge=ridge)
    near = forecast(dense.kernel, lam=1e8, radius=radius, ridge=ridge)
    for name in ("safety_change", "proxy_change", "task_change", "displacement"):
        assert getattr(limit, name) == pytest.approx(getattr(near, name), rel=1e-4, abs=1e-5), name
    # The proxy comes first: nothing in the ball is better for it.
    assert limit.proxy_change <= near.proxy_change + 1e-9
    assert np.isinf(limit.lam)


def test_radius_zero_and_no_pull_do_not_move():
    dense = Dense(7)
    for lam in (0.0, 1.0, np.inf):
        still = forecast(dense.kernel, lam=lam, radius=0.0)
        assert still.displacement == still.task_change == still.safety_change == 0.0
    nothing = Population([0, 1], [1.0, 1.0], [0.0, 0.0])
    still = forecast(Kernel(np.eye(2), task=nothing, safety=nothing), lam=2.0, radius=[0.0, 1.0])
    assert (still.displacement == 0).all()


def test_arrays_broadcast_and_each_entry_is_its_own_forecast():
    dense = Dense(8, dimension=30)
    lams, radii = np.array([[0.0], [0.3], [np.inf]]), np.array([0.0, 0.1, 3.0, np.inf])
    grid = forecast(dense.kernel, lam=lams, radius=radii)
    assert grid.safety_change.shape == (3, 4)
    assert grid.row_change.shape == (3, 4, 12)
    for i, lam in enumerate(lams[:, 0]):
        for j, radius in enumerate(radii):
            one = forecast(dense.kernel, lam=float(lam), radius=float(radius))
            assert grid.safety_change[i, j] == pytest.approx(one.safety_change, rel=1e-12)
            assert grid.lam[i, j] == one.lam
    paths = Descent(0.01 * np.tri(3, 5))  # 1, 2 and 3 steps
    stopped = forecast(dense.kernel, lam=lams[:2], path=paths)
    assert stopped.task_change.shape == (2, 3)
    one = forecast(dense.kernel, lam=0.3, path=Descent.constant(0.01, 2))
    assert stopped.task_change[1, 1] == pytest.approx(one.task_change, rel=1e-12)
    assert grid.status is Status.ESTIMATED


def root(matrix):
    size, basis = np.linalg.eigh(matrix)
    return (basis * np.sqrt(np.maximum(size, 0.0))).T


def full_rows(problem: QuadraticProblem) -> Kernel:
    """All rows of a quadratic problem: ``H = J'J``, and ``g_f = -H_f d = J_f'(-J_f d)``."""
    task, safety = root(problem.H_f), root(problem.H_s)
    n = len(problem.theta_s)
    rows = np.vstack([task, safety])
    return Kernel(
        rows @ rows.T,
        task=Population(np.arange(n), np.ones(n), -task @ problem.displacement),
        safety=Population(np.arange(n, 2 * n), np.ones(n), np.zeros(n)),
    )


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("flat", [False, True])
def test_the_forecast_is_exact_on_quadratic_problems(seed, flat):
    """T16's parallel sum and trust region against the closed forms, which share no code."""
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, 5, 5))
    if flat:
        a[:, 3:], b[:, :2] = 0.0, 0.0
    problem = QuadraticProblem(a @ a.T, b @ b.T, rng.normal(size=5), rng.normal(size=5))
    kernel = full_rows(problem)
    start = problem.capability_gap_at_aligned
    for strategy, options in (
        (LossConstraint(lam=0.4), {"lam": 0.4}),
        (LossConstraint(lam=30.0), {"lam": 30.0}),
        (ParameterConstraint(radius=0.3), {"radius": 0.3}),
        (Hybrid(lam=0.4, radius=0.3), {"lam": 0.4, "radius": 0.3}),
    ):
        truth, found = exact(problem, strategy), forecast(kernel, **options)
        assert found.safety_change == pytest.approx(truth.safety_gap, rel=1e-8, abs=1e-12)
        assert start + found.task_change == pytest.approx(truth.capability_gap, rel=1e-8, abs=1e-12)
        assert found.proxy_change == found.safety_change


def test_a_preconditioner_is_a_scaling_of_columns():
    """Descent in d = P^(1/2) e with rows J P^(1/2) is the preconditioned descent on d."""
    dense = Dense(9, dimension=10)
    scale = np.random.default_rng(1).uniform(0.2, 3.0, size=10)
    matrix, gradient = dense.objective(0.5, 0.0)
    d = np.zeros(10)
    for _ in range(6):
        d = d - 0.01 * scale * (gradient + matrix @ d)
    rows = dense.rows * np.sqrt(scale)
    task, proxy, safety = dense.parts
    kernel = Kernel(rows @ rows.T, task=task, proxy=proxy, safety=safety)
    found = forecast(kernel, lam=0.5, path=Descent.constant(0.01, 6))
    np.testing.assert_allclose(
        [found.task_change, found.proxy_change, found.safety_change],
        dense.changes(d),
        rtol=1e-9,
    )
    assert found.displacement == pytest.approx(np.linalg.norm(d / np.sqrt(scale)), rel=1e-9)


def test_rows_of_drawn_labels_average_to_the_gauss_newton_matrix():
    """The module's recipe for rows, with every possible draw as a row of its probability."""
    rng = np.random.default_rng(2)
    tokens, responses, dimension = 3, 4, 5
    jacobian = rng.normal(size=(tokens, responses, dimension))
    p = rng.dirichlet(np.ones(responses), size=tokens)
    curvature = sum(
        jacobian[t].T @ (np.diag(p[t]) - np.outer(p[t], p[t])) @ jacobian[t] for t in range(tokens)
    )
    gradients = np.einsum("tyv,tvd->tyd", p[:, None] - np.eye(responses), jacobian)
    draws = list(itertools.product(range(responses), repeat=tokens))
    rows = [sum(gradients[t, y] for t, y in enumerate(draw)) for draw in draws]
    weight = np.array([np.prod([p[t, y] for t, y in enumerate(draw)]) for draw in draws])
    answer = sum(gradients[t, 0] for t in range(tokens))
    rows = np.array([*rows, answer])
    n = len(draws)
    task = Population(np.arange(n + 1), np.append(weight, 0.0), np.eye(n + 1)[n])
    found = forecast(Kernel(rows @ rows.T, task=task, safety=task), ridge=0.2)
    d = -np.linalg.solve(curvature + 0.2 * np.eye(dimension), answer)
    assert found.displacement == pytest.approx(np.linalg.norm(d), rel=1e-9)
    assert found.task_change == pytest.approx(answer @ d + 0.5 * d @ curvature @ d, rel=1e-9)


def test_other_rows_can_be_judged_afterwards():
    dense = Dense(10, dimension=15)
    found = forecast(dense.kernel, lam=0.5)
    again = dense.parts[2].change(found.row_change)
    assert again == found.safety_change
    half = Population([8, 9], [0.5, 0.5], [1.0, -1.0])
    u = found.row_change[[8, 9]]
    assert half.change(found.row_change) == pytest.approx(u[0] - u[1] + 0.25 * (u @ u))


def test_a_gradient_without_curvature_needs_something_to_hold_it():
    """Gradient and curvature from different rows: nothing stops the step along the rest of g."""
    rng = np.random.default_rng(11)
    rows = rng.normal(size=(4, 9))
    task = Population([0, 1], [1.0, 0.0], [0.0, 1.0])
    safety = Population([2, 3], [1.0, 1.0], [0.0, 0.0])
    kernel = Kernel(rows @ rows.T, task=task, safety=safety)
    with pytest.raises(ValueError, match=r"falls for ever.*ridge"):
        forecast(kernel)
    assert np.isfinite(forecast(kernel, ridge=0.1).task_change)
    assert forecast(kernel, radius=2.0).displacement == pytest.approx(2.0)
    assert np.isfinite(forecast(kernel, path=Flow(1.0)).task_change)
    swapped = Kernel(rows @ rows.T, task=safety, safety=safety, proxy=task)
    with pytest.raises(ValueError, match="falls for ever"):
        forecast(swapped, lam=np.inf)


GOOD = Population([0], [1.0], [1.0])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Population([0.5], [1.0], [1.0]), "row numbers"),
        (lambda: Population([-1], [1.0], [1.0]), "row numbers"),
        (lambda: Population([0], [1.0, 2.0], [1.0]), "weight"),
        (lambda: Population([0], [1.0], [np.nan]), "slope"),
        (lambda: Population([0], [-1.0], [1.0]), "negative"),
        (lambda: Kernel(np.ones((1, 2)), task=GOOD, safety=GOOD), "shape"),
        (lambda: Kernel([[np.inf]], task=GOOD, safety=GOOD), "infinity"),
        (lambda: Kernel([[1.0, 0.5], [0.0, 1.0]], task=GOOD, safety=GOOD), "symmetric"),
        (lambda: Kernel([[1.0, 2.0], [2.0, 1.0]], task=GOOD, safety=GOOD), "semi-definite"),
        (lambda: Kernel([[1.0]], task=Population([1], [1.0], [1.0]), safety=GOOD), "names row 1"),
        (lambda: forecast(Dense(0).kernel, lam=-1.0), "lam"),
        (lambda: forecast(Dense(0).kernel, radius=np.nan), "radius"),
        (lambda: forecast(Dense(0).kernel, ridge=-1.0), "ridge"),
        (lambda: forecast(Dense(0).kernel, radius=1.0, path=Flow(1.0)), "path"),
        (lambda: forecast(Dense(0).kernel, lam=np.inf, path=Flow(1.0)), "path"),
    ],
)
def test_bad_input_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
