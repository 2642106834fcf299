"""Quadratic losses: minimisers by elimination in long double, vectorised over the batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from sims.families.draws import lambdas
from sims.family import ClosedForm, Kind, Run
from theory.bound import Quantity
from theory.divergence import Array
from theory.problem import QuadraticProblem
from theory.strategy import Hybrid, LossConstraint, ParameterConstraint, Strategy

_DIMENSIONS = (1, 2, 4)
_EPS = np.finfo(np.float64).eps
_NEWTON_STEPS = 60


class Quadratic(ClosedForm[QuadraticProblem]):
    """``f_s, f_f`` with Hessians that share all, some or no directions; every strategy exact.

    Minimisers solve ``(H_f + lam H_s + nu I) x = H_f d`` by elimination in long double, with
    ``nu`` from Newton's method on the secular equation; gaps are the quadratic forms themselves.
    """

    name = "quadratic"

    def draw(self, rng: np.random.Generator, n: int) -> QuadraticProblem:
        """``n`` instances: curvatures over six decades, flat directions, isotropic ones."""
        dimension = int(rng.choice(_DIMENSIONS))
        scale = 10.0 ** rng.uniform(-3, 2, size=(n, 1))
        theta_s = rng.normal(size=(n, dimension)) * (rng.random((n, 1)) < 0.5)
        theta_f = theta_s + scale * rng.normal(size=(n, dimension))
        theta_f = np.where(rng.random((n, 1)) < 0.02, theta_s, theta_f)
        return QuadraticProblem(
            H_s=_hessians(rng, n, dimension),
            H_f=_hessians(rng, n, dimension),
            theta_s=theta_s,
            theta_f=theta_f,
        )

    def strategies(self, rng: np.random.Generator, problem: QuadraticProblem) -> Iterator[Strategy]:
        """Case I by lambda and by epsilon, Case II and the hybrid."""
        (n,) = problem.batch_shape
        lam = lambdas(rng, n)
        distance = np.linalg.norm(problem.displacement, axis=-1)
        radius = np.maximum(distance, 1e-3) * 10.0 ** rng.uniform(-4, 1, size=n)
        yield LossConstraint(lam=lam)
        reached = self.truths(problem, LossConstraint(lam=lam))[Quantity.SAFETY_GAP]
        loose = _unconstrained(problem)
        loose = np.where(np.isfinite(loose), 2.0 * loose, 0.0)
        kind = rng.choice(3, size=n, p=[0.8, 0.1, 0.1])
        yield LossConstraint(epsilon=np.choose(kind, [reached, 0.0 * reached, loose]))
        yield ParameterConstraint(radius)
        yield Hybrid(lam=lam, radius=radius)

    def truths(self, problem: QuadraticProblem, strategy: Strategy) -> dict[Quantity, Array]:
        """Gaps of the strategy's minimiser and how far it moved, nats and parameter units."""
        return _minimiser(problem, strategy).truth

    def runs(
        self, rng: np.random.Generator, problem: QuadraticProblem, strategy: Strategy
    ) -> Iterator[Run]:
        """The minimiser, and a point of the ball (of the segment, where there is no radius)."""
        yield _minimiser(problem, strategy)
        shape = problem.batch_shape
        given = _lam(strategy)
        lam = np.ones(shape) if given is None else np.ones(shape) * given
        d = problem.displacement
        if isinstance(strategy, LossConstraint):
            step = d * rng.random((*shape, 1))
            yield run_at(problem, step, Kind.ANY, lam)
            return
        pull = np.einsum("nij,nj->ni", problem.H_f, d)
        stiff = np.linalg.eigh(problem.H_s)[1][..., -1]
        kind = rng.integers(3, size=(*shape, 1))
        step = np.choose(kind, [pull, stiff, rng.normal(size=d.shape)])
        size = np.linalg.norm(step, axis=-1)
        share = np.where(rng.random(shape) < 0.7, 1.0, rng.random(shape)) * (1 - 1e-14)
        factor = share * np.asarray(strategy.radius) / np.where(size > 0, size, 1.0)
        yield run_at(problem, step * factor[..., None], Kind.IN_BALL, lam)


def _lam(strategy: Strategy) -> float | np.ndarray | None:
    return None if isinstance(strategy, ParameterConstraint) else strategy.lam


def _hessians(rng: np.random.Generator, n: int, dimension: int) -> Array:
    """PSD matrices, exactly flat outside a random set of coordinates, rotated within it."""
    used = rng.random((n, dimension)) < rng.choice([0.6, 1.0], size=(n, 1))
    used[np.arange(n), rng.integers(dimension, size=n)] = True
    factor = rng.normal(size=(n, dimension, dimension)) * used[..., None]
    spread = 10.0 ** rng.uniform(-1.5, 1.5, size=(n, dimension, 1))
    rotated = (spread * factor) @ np.swapaxes(spread * factor, -1, -2)
    ridge = np.einsum("nii->n", rotated)[:, None] * 1e-3 * used
    rotated = rotated + np.eye(dimension) * ridge[..., None]
    plain = np.eye(dimension) * used[..., None]
    scale = 10.0 ** rng.uniform(-2, 2, size=(n, 1, 1))
    matrix = scale * np.where(rng.random((n, 1, 1)) < 0.2, plain, rotated)
    return 0.5 * (matrix + np.swapaxes(matrix, -1, -2))


def _eliminate(matrix: np.ndarray, right: np.ndarray) -> Array:
    """``x`` with ``matrix x = right`` for PSD matrices whose zero rows are exact; long double.

    ``matrix [n, k, k]``, ``right [n, k, m]``. Rows of zeros (flat directions) give ``x = 0``.
    """
    a, b = matrix.copy(), right.copy()
    k = a.shape[-1]
    # Symmetric scaling first: the pivots of a scaled PSD matrix need no exchange of rows.
    root = np.sqrt(np.einsum("nii->ni", a))
    root = np.where(root > 0, root, 1.0)
    a /= root[:, :, None] * root[:, None, :]
    b /= root[..., None]
    for i in range(k):
        pivot = np.where(a[:, i, i] > 0, a[:, i, i], 1.0)
        for j in range(i + 1, k):
            ratio = a[:, j, i] / pivot
            a[:, j] -= ratio[:, None] * a[:, i]
            b[:, j] -= ratio[:, None] * b[:, i]
    x = np.zeros_like(b)
    for i in reversed(range(k)):
        pivot = np.where(a[:, i, i] > 0, a[:, i, i], 1.0)
        rest = b[:, i] - np.einsum("nj,njm->nm", a[:, i, i + 1 :], x[:, i + 1 :])
        x[:, i] = rest / pivot[:, None]
    return x / root[..., None]


def _minimiser(problem: QuadraticProblem, strategy: Strategy) -> Run:
    shape = problem.batch_shape
    if isinstance(strategy, LossConstraint) and strategy.lam is None:
        return _constrained(problem, np.asarray(strategy.epsilon))
    given = _lam(strategy)
    lam = np.broadcast_to(0.0 if given is None else given, shape)
    radius = None if isinstance(strategy, LossConstraint) else np.asarray(strategy.radius)
    weight = np.ones(shape) if given is None else lam
    step, nu = _solve(problem, lam, radius)
    run = run_at(problem, step, Kind.MINIMISER, weight)
    return replace(run, conditioning=_conditioning(problem, lam, nu, run))


def _conditioning(problem: QuadraticProblem, lam: Array, nu: Array, run: Run) -> dict:
    """What an error of ``n eps |A|`` in ``A = H_f + lam H_s + nu I`` does to the gaps, nats."""
    n = problem.theta_s.shape[-1]
    matrix = problem.H_f + lam[:, None, None] * problem.H_s + nu[:, None, None] * np.eye(n)
    flat = np.einsum("nii->ni", matrix) == 0
    largest = np.linalg.norm(matrix, axis=(-2, -1))
    filled = matrix + np.eye(n) * np.where(flat, largest[:, None], 0.0)[:, None, :]
    least = np.maximum(np.linalg.eigvalsh(filled)[:, 0], 8 * n * _EPS * largest)
    reach = run.truth[Quantity.RADIUS] + np.linalg.norm(problem.displacement, axis=-1)
    moved = 16 * n * _EPS * largest / np.where(least > 0, least, 1.0) * reach

    def change(matrix: Array, gap: Array) -> Array:
        size = np.linalg.norm(matrix, axis=(-2, -1))
        return np.sqrt(2.0 * gap * size) * moved + 0.5 * size * moved**2

    safety = change(problem.H_s, run.truth[Quantity.SAFETY_GAP])
    task = change(problem.H_f, run.truth[Quantity.CAPABILITY_GAP])
    gaps = (Quantity.SAFETY_GAP, Quantity.PROXY_SAFETY_GAP)
    return {**dict.fromkeys(gaps, safety), Quantity.CAPABILITY_GAP: task}


def best_step(problem: QuadraticProblem, lam: Array, radius: Array | None = None) -> Array:
    """From theta_s to the minimiser of ``f_f + lam f_s`` (in the ball), long double ``[n, k]``."""
    return _solve(problem, lam, radius)[0]


def _solve(problem: QuadraticProblem, lam: Array, radius: Array | None) -> tuple[Array, Array]:
    """The step to the minimiser and the radius' multiplier ``nu``, long double and double."""
    task = problem.H_f.astype(np.longdouble)
    safety = problem.H_s.astype(np.longdouble)
    d = problem.theta_f.astype(np.longdouble) - problem.theta_s
    matrix = task + lam[:, None, None] * safety
    pull = np.einsum("nij,nj->ni", task, d)
    eye = np.eye(d.shape[-1], dtype=np.longdouble)
    nu = np.zeros(len(d), dtype=np.longdouble)
    for _ in range(_NEWTON_STEPS):
        shifted = matrix + nu[:, None, None] * eye
        x = _eliminate(shifted, pull[..., None])
        if radius is None:
            break
        length = np.sqrt((x[..., 0] ** 2).sum(axis=-1))
        long = length > radius * (1.0 + 1e-17)
        if not long.any():
            break
        # Newton on 1 / |x(nu)|, which is concave: from below it never overshoots.
        steep = (x * _eliminate(shifted, x)).sum(axis=(-2, -1))
        safe = np.where(steep > 0, steep, 1.0)
        nu = np.where(long, nu + length**2 / safe * (length / radius - 1.0), nu)
    return x[..., 0], nu.astype(np.float64)


def _unconstrained(problem: QuadraticProblem) -> Array:
    """``G_s(theta_f)`` where ``theta_f`` is the only minimiser of f_f, else inf."""
    d = problem.displacement
    gap = 0.5 * np.einsum("ni,nij,nj->n", d, problem.H_s, d)
    unique = (np.einsum("nii->ni", problem.H_f) > 0).all(axis=-1)
    return np.where(unique, gap, np.inf)


def _constrained(problem: QuadraticProblem, epsilon: Array) -> Run:
    """``min f_f`` subject to ``G_s <= epsilon``: lambda by bisection from the feasible side."""
    shape = problem.batch_shape

    def reached(lam: Array) -> Array:
        moved = best_step(problem, lam)
        return 0.5 * np.einsum("ni,nij,nj->n", moved, problem.H_s, moved).astype(np.float64)

    low, high = np.full(shape, -16.0), np.full(shape, 16.0)
    for _ in range(52):
        middle = 0.5 * (low + high)
        fits = reached(np.exp(middle)) <= epsilon
        low, high = np.where(fits, low, middle), np.where(fits, middle, high)
    slack = epsilon > 1.5 * _unconstrained(problem)
    lam = np.where(slack, 0.0, np.exp(high))
    h = 1e-3
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = (reached(lam * (1 - h)) - reached(lam * (1 + h))) / (2 * h)
        precision = 16.0 * _EPS * epsilon / slope
    # A gap of 0 for every lambda (no shared direction) fixes no lambda, nor does epsilon = 0.
    known = (epsilon > 1e-12) & (np.abs(high) < 15.0) & (precision >= 0) & (precision < 1e-6)
    precision = np.where(known & ~slack, precision, 0.0)
    known |= slack
    run = run_at(
        problem, best_step(problem, lam), Kind.MINIMISER, lam, checked=known, precision=precision
    )
    errors = _conditioning(problem, lam, np.zeros(shape), run)
    # Along the front dG_f = -lam dG_s.
    along = lam * (errors[Quantity.SAFETY_GAP] + 16.0 * _EPS * epsilon)
    errors[Quantity.CAPABILITY_GAP] = errors[Quantity.CAPABILITY_GAP] + along
    return replace(run, conditioning=errors)


def run_at(
    problem: QuadraticProblem,
    step: np.ndarray,
    kind: Kind,
    lam: Array,
    *,
    checked: np.ndarray | bool = True,
    precision: Array | float = 0.0,
) -> Run:
    """The gaps ``[n]`` of theta_s + ``step [n, k]``: the quadratic forms, in long double."""
    shape = problem.batch_shape
    step = step.astype(np.longdouble)
    d = problem.theta_f.astype(np.longdouble) - problem.theta_s
    left = d - step

    def half_form(matrix: Array, vector: np.ndarray) -> Array:
        value = 0.5 * np.einsum("ni,nij,nj->n", vector, matrix.astype(np.longdouble), vector)
        return np.maximum(value, 0.0).astype(np.float64)

    safety, task = half_form(problem.H_s, step), half_form(problem.H_f, left)
    truth = {
        Quantity.SAFETY_GAP: safety,
        Quantity.PROXY_SAFETY_GAP: safety,
        Quantity.CAPABILITY_GAP: task,
        Quantity.SAFETY_LOSS_INCREASE: safety,
        Quantity.RADIUS: np.sqrt((step**2).sum(axis=-1)).astype(np.float64),
    }
    n = d.shape[-1]
    # Eigenvalues that a bound is made of are those of H to within n eps |H|, and d is rounded.
    reach = np.maximum((d**2).sum(axis=-1), (step**2).sum(axis=-1)).astype(np.float64)
    place = (np.abs(problem.theta_s) + np.abs(problem.theta_f)).max(axis=-1) * _EPS
    sizes = {
        name: np.linalg.norm(h, axis=(-2, -1))
        for name, h in (("s", problem.H_s), ("f", problem.H_f))
    }
    off = {
        name: size * (8 * n * _EPS * reach + place * np.sqrt(reach)) for name, size in sizes.items()
    }
    error = {
        Quantity.SAFETY_GAP: off["s"],
        Quantity.PROXY_SAFETY_GAP: off["s"],
        Quantity.CAPABILITY_GAP: off["f"],
        Quantity.SAFETY_LOSS_INCREASE: off["s"],
        Quantity.RADIUS: 8 * n * _EPS * np.sqrt(reach) + place,
    }
    return Run(
        kind=kind,
        truth=truth,
        error=error,
        lam=np.broadcast_to(lam, shape),
        checked=np.broadcast_to(checked, shape),
        precision=np.broadcast_to(precision, shape),
    )
