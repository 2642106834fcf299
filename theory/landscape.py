"""What a radius can do to a loss: its gap, slope and curvature at the aligned model."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

from theory.divergence import Array
from theory.problem import (
    Constant,
    Constants,
    Distribution,
    Problem,
    QuadraticProblem,
    TabularProblem,
)
from theory.quadratic import Enclosure, start
from theory.strategy import LossConstraint, Strategy

NO_RADIUS = "needs a radius: a loss constraint leaves the parameters free"
MINIMISER = "theta_epsilon minimises f_f within the radius"
IN_BALL = "|theta - theta_s| <= radius"
LOGITS = "(A-J) logits move at most J |theta - theta_s|"
ALIGNED_OPTIMAL = "theta_s minimises f_s"
ALIGNED_EXACT = "P_theta_s = mu_s on supp rho_s"

Terms = dict[str, Array]

# Centred logits as parameters: |u|_inf up to a shift is half the range of u <= |u|_2 / sqrt(2).
TABULAR_J = float(np.sqrt(0.5))
# Far above the rounding of a short formula, far below anything that matters.
_ROUNDING = 2.0**-46


def up(value: ArrayLike) -> Array:
    """``value >= 0`` raised by more than a formula's rounding."""
    return np.asarray(value, dtype=np.float64) * (1.0 + _ROUNDING)


def down(value: ArrayLike) -> Array:
    """``value >= 0`` lowered by more than a formula's rounding."""
    return np.asarray(value, dtype=np.float64) * (1.0 - _ROUNDING)


def product(*factors: ArrayLike) -> Array:
    """The product, 0 where any factor is 0, however large the others."""
    factors = np.broadcast_arrays(*(np.asarray(f, dtype=np.float64) for f in factors))
    zero = np.any([f == 0 for f in factors], axis=0)
    with np.errstate(invalid="ignore", over="ignore"):
        return np.where(zero, 0.0, np.prod(factors, axis=0))


def no_radius(problem: Problem) -> str:
    """Why a statement that needs a radius does not apply, in words."""
    if isinstance(problem, Constants):
        return f"{NO_RADIUS}; give displacement, a bound on |theta - theta_s|"
    return NO_RADIUS


def reach(problem: Problem, strategy: Strategy) -> tuple[Array, tuple[Constant, ...]] | None:
    """The largest ``|theta - theta_s|`` possible and the constants it used; None if unbounded.

    The strategy's radius, or for constants the measured ``displacement`` where that is smaller.
    """
    radius = np.asarray(np.inf if isinstance(strategy, LossConstraint) else strategy.radius)
    if isinstance(problem, Constants) and "displacement" in problem:
        moved = problem["displacement"]
        if np.any(moved.value < radius):
            return np.minimum(radius, moved.value), (moved,)
    return None if isinstance(strategy, LossConstraint) else (radius, ())


@dataclass(frozen=True, eq=False)
class LossLandscape:
    """One loss around the aligned model, ``[...]`` over the batch, nats.

    ``gap``, ``gradient`` (norm) at theta_s; ``smoothness`` everywhere, from above; ``distance`` to
    its minimisers; ``modulus`` of strong convexity along the way there, from below (0: merely
    convex). ``unresolved`` bounds what directions of curvature below float resolution contribute
    to the gap; ``distance`` leaves them out.
    """

    gap: Enclosure
    gradient: Enclosure
    smoothness: Array
    distance: Enclosure
    modulus: Array
    unresolved: Array


def tabular_landscape(distribution: Distribution, aligned: Array, gap: Array) -> LossLandscape:
    """In centred logits ``[..., X, V]``, where the loss is convex.

    The Hessian is blockdiag ``rho(x) (diag p - p p')``, of norm at most ``max rho / 2``; the
    gradient is ``rho(x) (P - mu)``. A logit of -inf (aligned probability 0) never moves. These
    formulas keep their digits: statements allow for their rounding.
    """
    context, target = distribution.context, distribution.target
    off = target - aligned
    gradient = np.sqrt((context**2 * (off**2).sum(axis=-1)).sum(axis=-1))
    return LossLandscape(
        gap=Enclosure.exactly(gap),
        gradient=Enclosure.exactly(gradient),
        smoothness=0.5 * context.max(axis=-1),
        distance=Enclosure.exactly(_distance_to_targets(context, target, aligned)),
        modulus=np.zeros_like(gap),
        unresolved=np.zeros_like(gap),
    )


def _distance_to_targets(context: Array, target: Array, aligned: Array) -> Array:
    """Euclidean distance in logits to softmax = target; inf where a target has other zeros."""
    both = (target > 0) & (aligned > 0)
    p = np.where(both, aligned, 1.0)
    q = np.where(both, target, 1.0)
    ratio = (q - p) / p
    near = np.abs(ratio) < 0.5
    difference = np.where(near, np.log1p(np.where(near, ratio, 0.0)), np.log(q) - np.log(p))
    count = np.maximum(both.sum(axis=-1, keepdims=True), 1)
    mean = difference.sum(axis=-1, keepdims=True) / count
    squared = np.where(both, (difference - mean) ** 2, 0.0).sum(axis=-1)
    unreachable = ((target > 0) != (aligned > 0)).any(axis=-1)
    squared = np.where(unreachable, np.inf, squared)
    return np.sqrt(np.where(context > 0, squared, 0.0).sum(axis=-1))


@lru_cache(maxsize=4)
def quadratic_landscape(problem: QuadraticProblem) -> LossLandscape:
    """Of ``f_f`` around theta_s.

    Curvatures below 1e-13 of the largest cannot be told from 0; ``modulus`` is the least other
    one: the nearest minimiser lies in the range of H. How far rounding turns that range is at most
    the error of a curvature over the least one resolved (Davis and Kahan).
    """
    curvature, basis = np.linalg.eigh(problem.H_f)
    displacement = problem.displacement
    n = curvature.shape[-1]
    largest = np.abs(curvature).max(axis=-1)
    noise = 1e-13 * largest
    resolved = curvature > noise[..., None]
    along = (displacement[..., None, :] @ basis)[..., 0, :]
    inside = np.linalg.norm(np.where(resolved, along, 0.0), axis=-1)
    outside = np.linalg.norm(np.where(resolved, 0.0, along), axis=-1)
    error = 8.0 * n * np.finfo(float).eps * largest
    least = np.where(resolved, curvature, np.inf).min(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        turned = np.where(resolved.all(axis=-1), 0.0, np.minimum(error / (least - noise), 1.0))
    turned = np.where(np.isfinite(least), turned, 0.0) + 4.0 * n * np.finfo(float).eps
    turned = turned * np.linalg.norm(displacement, axis=-1)
    outside = np.where(resolved.all(axis=-1), 0.0, outside + turned)
    begin = start(problem)
    return LossLandscape(
        gap=begin.gap,
        gradient=begin.slope,
        smoothness=largest + error,
        distance=Enclosure.around(inside, inside - turned, inside + turned),
        modulus=np.where(np.isfinite(least), np.maximum(least - error, 0.0), 0.0),
        unresolved=(0.5 * noise + error) * np.square(outside) + error * inside * outside,
    )


def isolated_growth(problem: QuadraticProblem) -> Array:
    """(A-QG) constant of f_s at an isolated theta_s: least eigenvalue of H_s, rounded down."""
    spectrum = problem.spectrum_s
    error = 8.0 * spectrum.shape[-1] * np.finfo(float).eps * spectrum[..., -1]
    return np.maximum(spectrum[..., 0] - error, 0.0)


def task_landscape(problem: TabularProblem | QuadraticProblem) -> LossLandscape:
    """Of f_f around theta_s."""
    if isinstance(problem, QuadraticProblem):
        return quadratic_landscape(problem)
    return tabular_landscape(problem.task, problem.aligned, problem.capability_gap_at_aligned)
