"""Quadratic problems in double precision, a batch at once, with bounds on what rounding did.

A matrix stands for every positive semi-definite one that differs from it by rounding of its
entries: the limits given here hold for all of them. Where the curvature in some direction cannot
be told from 0 they are wide.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

from theory.divergence import Array
from theory.problem import QuadraticProblem
from theory.quadratic.enclosure import Enclosure, Gaps

NEAREST = "of the minimisers, the one nearest to theta_s"
SAFEST = "of the minimisers, the one with the least safety loss"

_EPS = np.finfo(np.float64).eps
# Halvings of a range of 1400 in log(lam): below float64 resolution.
_BISECTIONS = 64
# log(lam) as far as float64 goes: disjoint targets on little mass need multipliers of that size.
_LOG_RANGE = 700.0
# Of a radius' multiplier: beyond it the step is 0 and the product with a displacement overflows.
_LARGEST_LOG = 600.0
# Of lambda, at which the least sum is bounded.
_MULTIPLIERS = tuple(10.0**k for k in range(-12, 13))
# How far a multiplier found by bisection may be off, relatively, before it is given up.
_SLACKS = (1e-12, 1e-9, 1e-6, 1e-3, 0.5)


def dot(matrix: Array, vector: Array) -> Array:
    """``H v``, ``[..., n, n], [..., n] -> [..., n]``."""
    return (matrix @ vector[..., None])[..., 0]


def _half_form(matrix: Array, vector: Array, *, off: Array | float = 0.0) -> Enclosure:
    """``1/2 v' H v`` for a ``v`` whose entries are known within ``off [..., n]``."""
    n = vector.shape[-1]
    size = np.abs(vector)
    heavy = dot(np.abs(matrix), size)
    value = np.maximum(0.5 * (vector * dot(matrix, vector)).sum(axis=-1), 0.0)
    error = 2.0 * (n + 4) * _EPS * (size * heavy).sum(axis=-1)
    error = error + (np.asarray(off) * (heavy + dot(np.abs(matrix), off + 0.0 * size))).sum(axis=-1)
    return Enclosure.around(value, value - error, value + error)


def _off(problem: QuadraticProblem) -> Array:
    return _EPS * np.abs(problem.displacement)


def start(problem: QuadraticProblem) -> Enclosure:
    """``G_f(theta_s)``, nats."""
    return _half_form(problem.H_f, problem.displacement, off=_off(problem))


def slope(problem: QuadraticProblem) -> Enclosure:
    """``|grad f_f(theta_s)|``."""
    n = problem.theta_s.shape[-1]
    value = np.linalg.norm(dot(problem.H_f, problem.displacement), axis=-1)
    heavy = dot(np.abs(problem.H_f), np.abs(problem.displacement))
    error = 2.0 * (n + 4) * _EPS * np.linalg.norm(heavy, axis=-1)
    return Enclosure.around(value, value - error, value + error)


def orthogonal(problem: QuadraticProblem) -> np.ndarray:
    """Whether ``H_s H_f`` vanishes exactly, which alone proves that no direction is shared."""
    scaled = [
        m / np.maximum(np.abs(m).max(axis=(-2, -1), keepdims=True), np.finfo(float).tiny)
        for m in (problem.H_s, problem.H_f)
    ]
    return ~(scaled[0] @ scaled[1]).any(axis=(-2, -1))


def _point(problem: QuadraticProblem, step: Array, missing: Array):
    """Gaps and residual of the two points that a rounded step and a rounded rest stand for."""
    d = problem.displacement
    for first in (True, False):
        if first:  # theta_s + step exactly
            z, m = step, d - step
            off_z, off_m = 0.0 * np.abs(step), _EPS * (np.abs(d) + np.abs(m))
        else:  # theta_f - missing exactly
            z, m = d - missing, missing
            off_z, off_m = _EPS * (np.abs(d) + np.abs(z)), 0.0 * np.abs(missing)
        yield (
            _half_form(problem.H_s, z, off=off_z),
            _half_form(problem.H_f, m, off=off_m),
            z,
            m,
            off_z,
            off_m,
        )


def _residual(
    problem: QuadraticProblem, lam: Array, z: Array, m: Array, off_z: Array, off_m: Array
) -> tuple[Array, Array]:
    """``lam H_s z - H_f m`` and how far rounding can have moved each entry."""
    n = z.shape[-1]
    weight = lam[..., None]
    residual = weight * dot(problem.H_s, z) - dot(problem.H_f, m)
    error = weight * dot(np.abs(problem.H_s), 2.0 * (n + 4) * _EPS * np.abs(z) + off_z) + dot(
        np.abs(problem.H_f), 2.0 * (n + 4) * _EPS * np.abs(m) + off_m
    )
    return residual, error


def penalised(problem: QuadraticProblem, lam: ArrayLike) -> Gaps:
    """No radius: both Hessians made diagonal together, so that every lambda is as accurate.

    In that basis ``step = f d / (f + lam s)``, whatever scales separate ``f`` and ``lam s``. How
    far the gaps can be off follows from the residual of the linear system at the point found.
    """
    lam = np.asarray(lam, dtype=np.float64)
    shape = np.broadcast_shapes(problem.batch_shape, lam.shape)
    task, safety, basis, d = problem.common_basis
    lam = np.broadcast_to(lam, shape)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        resist = np.where(safety > 0, lam[..., None] * safety, 0.0)
        total = task + resist
        to_task = np.where(total > 0, task / total, 0.0)
        to_safety = np.where(np.isinf(total), 1.0, np.where(total > 0, resist / total, 0.0))
    step, missing = to_task * d, to_safety * d
    safety_gap = 0.5 * (safety * step**2).sum(axis=-1)
    capability_gap = 0.5 * (task * missing**2).sum(axis=-1)
    step, missing = dot(basis, step), dot(basis, missing)
    safety_box, capability_box = _boxes(problem, lam, step, missing)
    exactly = Enclosure.exactly(lam)
    safety_box = Enclosure.around(safety_gap, *safety_box)
    return Gaps(
        step, safety_box, Enclosure.around(capability_gap, *capability_box), exactly, safety_box
    )


def _boxes(problem: QuadraticProblem, lam: Array, step: Array, missing: Array):
    """``(lower, upper)`` of ``G_s`` and of ``G_f`` at the true minimiser of ``f_f + lam f_s``.

    Its distance from any point in the norm of ``A = H_f + lam H_s`` is ``sqrt(r' A^-1 r)`` with the
    residual ``r``, and at most ``sqrt(2 (F - V))`` by convexity. It moves the square root of twice
    a gap by at most as much (of ``G_s``: over sqrt lam).
    """
    least = sum(least_sum(problem, lam))
    low_s, high_s, low_f, high_f = 0.0, np.inf, 0.0, np.inf
    with np.errstate(all="ignore"):
        for at_s, at_f, *point in _point(problem, step, missing):
            residual, error = _residual(problem, lam, *point)
            excess = at_f.upper + lam * at_s.upper - least * (1.0 - 1e-12)
            energy = np.fmin(
                np.sqrt(2.0 * np.maximum(excess, 0.0)), _energy(problem, lam, residual, error)
            )
            energy = np.where(np.isfinite(lam) & (lam > 0), energy, np.inf) * (1.0 + 1e-12)
            for_s, for_f = np.sqrt(0.5) * energy / np.sqrt(lam), np.sqrt(0.5) * energy
            low_s = np.fmax(low_s, np.square(np.maximum(np.sqrt(at_s.lower) - for_s, 0.0)))
            low_f = np.fmax(low_f, np.square(np.maximum(np.sqrt(at_f.lower) - for_f, 0.0)))
            high_s = np.fmin(high_s, np.square(np.sqrt(at_s.upper) + for_s))
            high_f = np.fmin(high_f, np.square(np.sqrt(at_f.upper) + for_f))
    nudge = 1.0 + 8.0 * _EPS
    return (low_s / nudge, high_s * nudge + 5e-324), (low_f / nudge, high_f * nudge + 5e-324)


def _energy(problem: QuadraticProblem, lam: Array, residual: Array, error: Array) -> Array:
    """``sqrt(r' A^-1 r)`` from above; inf where a curvature of ``A`` is not resolved."""
    task, safety, _, _ = problem.common_basis_below
    basis = problem.common_basis[2]
    turned = np.swapaxes(basis, -1, -2)
    n = residual.shape[-1]
    seen = np.abs(dot(turned, residual)) + dot(
        np.abs(turned), error + 2.0 * (n + 4) * _EPS * np.abs(residual)
    )
    curvature = task + lam[..., None] * safety
    # Coordinates that neither loss has are flat exactly; other flat directions may not be.
    unused = ~(problem.H_s.any(axis=-1) | problem.H_f.any(axis=-1))
    left_out = ~basis.any(axis=-2)
    resolved = left_out.sum(axis=-1) == unused.sum(axis=-1)
    resolved = resolved & ((curvature > 0) | left_out).all(axis=-1)
    parts = np.where(left_out, 0.0, seen**2 / np.where(curvature > 0, curvature, 1.0))
    return np.where(resolved, np.sqrt(parts.sum(axis=-1)), np.inf)


def least_multiplier(gap: Callable[[Array], Array], epsilon: Array) -> Array:
    """The least ``lam`` with ``gap(lam) <= epsilon``, by bisection from the feasible side."""
    low, high = np.full(epsilon.shape, -_LOG_RANGE), np.full(epsilon.shape, _LOG_RANGE)
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        feasible = gap(np.exp(middle)) <= epsilon
        low, high = np.where(feasible, low, middle), np.where(feasible, middle, high)
    return np.exp(high)


def multiplier(problem: QuadraticProblem, epsilon: ArrayLike) -> Array:
    """The ``lam`` at which the safety gap is ``epsilon``, about."""
    epsilon = np.asarray(epsilon, dtype=np.float64)
    shape = np.broadcast_shapes(problem.batch_shape, epsilon.shape)
    task, safety, _, d = problem.common_basis

    def gap(lam: Array) -> Array:
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            total = task + np.where(safety > 0, lam[..., None] * safety, 0.0)
            step = np.where(total > 0, task / total, 0.0) * d
        return 0.5 * (safety * step**2).sum(axis=-1)

    return least_multiplier(gap, np.broadcast_to(epsilon, shape))


def constrained(problem: QuadraticProblem, epsilon: ArrayLike) -> Gaps:
    """The least task loss with a safety gap of at most ``epsilon``, by bisection in lambda.

    ``lam`` is 0 where the constraint is slack and inf where it leaves no room.
    """
    free = penalised(problem, np.zeros(problem.batch_shape))
    epsilon, loosest = np.broadcast_arrays(np.asarray(epsilon, dtype=np.float64), free.safety.value)
    lam = np.where(loosest <= epsilon, 0.0, multiplier(problem, epsilon))
    lam = np.where((epsilon == 0) & (loosest > 0), np.inf, lam)
    found = penalised(problem, lam)
    low_lam, high_lam = np.zeros(lam.shape), np.full(lam.shape, np.inf)
    low_f = np.zeros(lam.shape)
    ends = comparators(problem)
    high_f = np.where(ends["proxy"][0] <= epsilon, ends["proxy"][1], start(problem).upper)
    with np.errstate(invalid="ignore", over="ignore"):
        for slack in _SLACKS:
            for weight, above in ((lam * (1.0 - slack), True), (lam * (1.0 + slack), False)):
                usable = np.isfinite(weight) & (weight > 0)
                tried = penalised(problem, np.where(usable, weight, 1.0))
                if above:
                    sure = usable & (tried.safety.lower >= epsilon) & (low_lam == 0)
                    low_lam = np.where(sure, weight, low_lam)
                    low_f = np.where(sure, tried.capability.lower, low_f)
                else:
                    sure = usable & (tried.safety.upper <= epsilon) & np.isinf(high_lam)
                    high_lam = np.where(sure, weight, high_lam)
                    high_f = np.where(sure, np.minimum(tried.capability.upper, high_f), high_f)
        # The best point that keeps epsilon = 0 costs no less than any finite multiplier.
        tight = penalised(problem, np.full(lam.shape, 1e12) * _balance(problem))
    low_f = np.where(np.isinf(lam), np.maximum(low_f, tight.capability.lower), low_f)
    slack_everywhere = ends["task"][0] <= epsilon
    high_f = np.where(slack_everywhere, np.minimum(ends["task"][1], high_f), high_f)
    held = np.where(lam > 0, epsilon, np.minimum(epsilon, loosest))
    bound = low_lam > 0
    safety_gap = Enclosure.around(
        np.where(bound, held, found.safety.value),
        np.where(bound | (epsilon == 0), epsilon, 0.0),
        epsilon,
    )
    return Gaps(
        found.step,
        safety_gap,
        Enclosure.around(found.capability.value, low_f, high_f),
        Enclosure(lam, low_lam, high_lam),
        safety_gap,
    )


def _balance(problem: QuadraticProblem) -> Array:
    tiny = np.finfo(float).tiny
    return np.maximum(problem.spectrum_f[..., -1], tiny) / np.maximum(
        problem.spectrum_s[..., -1], tiny
    )


@lru_cache(maxsize=4)
def comparators(problem: QuadraticProblem) -> dict[str, tuple[Array, Array]]:
    """Gaps from above of points near the best minimiser of f_f ("task") and of f_s ("proxy")."""
    task, safety, basis, d = problem.common_basis
    found = {}
    for side, kept in (("task", task > 0), ("proxy", ~(safety > 0))):
        step = dot(basis, np.where(kept, d, 0.0))
        missing = dot(basis, np.where(kept, 0.0, d))
        gaps = [(s.upper, f.upper) for s, f, *_ in _point(problem, step, missing)]
        # Either point is one; take the one that is nearer to its own optimum.
        mine = 1 if side == "task" else 0
        first = gaps[0][mine] <= gaps[1][mine]
        found[side] = tuple(np.where(first, a, b) for a, b in zip(*gaps, strict=True))
    return found


def least_sum(problem: QuadraticProblem, lam: Array) -> tuple[Array, Array]:
    """``G_f`` and ``lam G_s`` at the minimum ``V(lam)`` of their sum, from below.

    The sum grows with both Hessians, so the lowered common basis gives a lower bound. ``V`` rises
    and ``V / lam`` falls, so other multipliers give one too, where rounding is worse at ``lam``.
    """
    task, safety, low, high = problem.common_basis_below
    shape = np.broadcast_shapes(problem.batch_shape, lam.shape)
    best = np.zeros((2, *shape))
    for factor in _MULTIPLIERS:
        weight = lam * factor
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            resist = weight[..., None] * safety
            total = task + resist
            squared = 0.5 * np.where((task > 0) & (resist > 0), low, high) ** 2
            left_out = (task == 0) & (resist == 0)
            shares = np.stack([task * (resist / total) ** 2, resist * (task / total) ** 2])
            shares = np.where(left_out, 0.0, shares * squared)
            parts = min(1.0, 1.0 / factor) * shares.sum(axis=-1)
            sound = ((total > 0) | left_out).all(axis=-1) & np.isfinite(parts.sum(axis=0))
            better = sound & (parts.sum(axis=0) > best.sum(axis=0))
        best = np.where(better, parts, best)
    # What rounding took off may exceed one of the two: then the other makes up for it.
    capability, safety = np.maximum(best, 0.0) + np.minimum(best, 0.0)[::-1]
    return capability, safety


@dataclass(frozen=True, eq=False)
class Ball:
    """The minimiser within a radius in the eigenbasis of ``H_f + lam H_s``: its multiplier ``nu``.

    ``curvature [..., n]`` as computed; ``flat`` where it is rounding noise.
    """

    nu: Array
    curvature: Array
    flat: np.ndarray
    step: Array
    missing: Array


def ball(problem: QuadraticProblem, lam: ArrayLike, radius: ArrayLike) -> Ball:
    """``(H_f + lam H_s + nu I) step = H_f d`` with ``nu >= 0`` least such that it fits."""
    lam, radius = np.asarray(lam, dtype=np.float64), np.asarray(radius, dtype=np.float64)
    shape = np.broadcast_shapes(problem.batch_shape, lam.shape, radius.shape)
    lam, radius = np.broadcast_to(lam, shape), np.broadcast_to(radius, shape)
    d = np.broadcast_to(problem.displacement, (*shape, problem.theta_s.shape[-1]))
    pull, resist = dot(problem.H_f, d), dot(problem.H_s, d)
    weight = lam[..., None]
    raw, basis = _system(problem, lam)
    turned = np.swapaxes(basis, -1, -2)
    flat = raw <= 1e-14 * np.abs(raw).max(axis=-1, keepdims=True)
    curvature = np.where(flat, 0.0, raw)
    pull = np.where(flat, 0.0, dot(turned, pull))

    def step(nu: Array) -> Array:
        denominator = curvature + nu[..., None]
        return np.divide(pull, denominator, out=np.zeros_like(pull), where=denominator > 0)

    def too_long(nu: Array) -> np.ndarray:
        return np.linalg.norm(step(nu), axis=-1) > radius

    free = np.zeros(shape)
    with np.errstate(divide="ignore"):
        high = np.minimum(np.log(np.linalg.norm(pull, axis=-1)) - np.log(radius), _LARGEST_LOG)
        low = np.maximum(high - 300.0, -_LOG_RANGE)
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        infeasible = too_long(np.exp(middle))
        low, high = np.where(infeasible, middle, low), np.where(infeasible, high, middle)
    nu = np.where(too_long(free), np.exp(high), free)
    # theta - theta_f from its own equation: accurate where theta almost reaches theta_f.
    back = dot(turned, weight * resist + nu[..., None] * d)
    denominator = curvature + nu[..., None]
    missing = np.divide(back, denominator, out=np.zeros_like(back), where=denominator > 0)
    return Ball(nu, raw, flat, dot(basis, step(nu)), dot(basis, missing))


def _system(problem: QuadraticProblem, lam: Array) -> tuple[Array, Array]:
    """Eigenvalues and vectors of ``H_f + lam H_s``; those of the last single lambdas are kept."""
    if lam.ndim == 0:
        return _one_system(problem, float(lam))
    return np.linalg.eigh(problem.H_f + lam[..., None, None] * problem.H_s)


@lru_cache(maxsize=4)
def _one_system(problem: QuadraticProblem, lam: float) -> tuple[Array, Array]:
    return np.linalg.eigh(problem.H_f + lam * problem.H_s)


def within_ball(problem: QuadraticProblem, lam: ArrayLike, radius: ArrayLike) -> Gaps:
    """``min f_f + lam f_s`` over ``|theta - theta_s| <= radius``."""
    found = ball(problem, lam, radius)
    shape = found.nu.shape
    lam, radius = np.broadcast_to(lam, shape), np.broadcast_to(radius, shape)
    boxes = _ball_boxes(problem, lam, radius, found)
    guesses = (
        _half_form(problem.H_s, found.step).value,
        _half_form(problem.H_f, found.missing).value,
    )
    safety, capability = (
        Enclosure.around(guess, *box) for guess, box in zip(guesses, boxes, strict=True)
    )
    # Where the radius is slack and f_f is flat the safety gap is not determined.
    loose = (found.nu == 0) & (lam == 0) & found.flat.any(axis=-1)
    reach = 0.5 * problem.spectrum_s[..., -1] * np.square(radius) * (1.0 + 1e-12)
    spread = Enclosure.around(
        safety.value, np.where(loose, 0.0, safety.lower), np.where(loose, reach, safety.upper)
    )
    known = Enclosure.exactly(lam)
    return Gaps(found.step, safety, capability, known, spread, NEAREST if loose.any() else "")


def _ball_boxes(problem: QuadraticProblem, lam: Array, radius: Array, found: Ball):
    """``(lower, upper)`` of ``G_s`` and ``G_f`` at the true minimiser within the radius.

    Two distances add: to the minimiser of the same multiplier, by the residual, and from there to
    that of the right radius, which moves by at most ``(K + 1) / (2 sqrt K)`` of the radius' error
    (Kantorovich, K the condition number of the system).
    """
    nu, raw, step, missing = found.nu, found.curvature, found.step, found.missing
    n = step.shape[-1]
    largest = np.abs(raw[..., -1]) + nu
    error = 8.0 * n * _EPS * np.abs(raw).max(axis=-1)
    least = raw[..., 0] - error + nu
    bends = [
        np.sqrt(0.5 * spectrum[..., -1] * (1.0 + 1e-12))
        for spectrum in (problem.spectrum_s, problem.spectrum_f)
    ]
    boxes: list[list[Array | float]] = [[0.0, np.inf], [0.0, np.inf]]
    with np.errstate(all="ignore"):
        for at_s, at_f, z, m, off_z, off_m in _point(problem, step, missing):
            residual, off = _residual(problem, lam, z, m, off_z, off_m)
            residual = residual + nu[..., None] * z
            off = off + nu[..., None] * (off_z + 4.0 * _EPS * np.abs(z))
            size = np.linalg.norm(np.abs(residual) + off, axis=-1)
            near = np.where(least > 0, size / least, np.inf)
            energy = np.where(least > 0, size / np.sqrt(least), np.inf)
            length = np.linalg.norm(z, axis=-1)
            missed = np.abs(length - radius) + (n + 4) * _EPS * length
            missed = missed + near + np.linalg.norm(off_z, axis=-1)
            condition = largest / least
            far = np.where(nu > 0, missed * (condition + 1.0) / (2.0 * np.sqrt(condition)), 0.0)
            changes = (
                np.fmin(bends[0] * near, np.sqrt(0.5) * energy / np.sqrt(lam)) + bends[0] * far,
                np.fmin(bends[1] * near, np.sqrt(0.5) * energy) + bends[1] * far,
            )
            for box, at, change in zip(boxes, (at_s, at_f), changes, strict=True):
                box[0] = np.fmax(
                    box[0], np.square(np.maximum(np.sqrt(at.lower) - change, 0.0)) * (1 - 1e-15)
                )
                box[1] = np.fmin(
                    box[1], np.square(np.sqrt(at.upper) + change) * (1 + 1e-15) + 5e-324
                )
            # A point of the ball is no better than the minimiser; without lambda that is G_f.
            inside = (length * (1.0 + (n + 4) * _EPS) <= radius) & (lam == 0)
            boxes[1][1] = np.where(inside, np.fmin(boxes[1][1], at_f.upper), boxes[1][1])
    return boxes
