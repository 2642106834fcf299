"""What the statements ask of a quadratic problem, each with the limits that are certain.

A single problem of few coordinates whose Hessians are exactly positive semi-definite is solved in
exact arithmetic; a batch, a large problem, or one that is semi-definite only up to rounding in
double precision, with error bounds.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from theory.divergence import Array
from theory.problem import QuadraticProblem
from theory.quadratic import exactly, floating
from theory.quadratic.enclosure import Enclosure, Gaps
from theory.quadratic.rational import LARGEST, NotPSDError, Rational
from theory.strategy import Hybrid, LossConstraint, ParameterConstraint, Strategy


@lru_cache(maxsize=4)
def rational(problem: QuadraticProblem) -> Rational | None:
    """The problem in exact arithmetic, or None where double precision has to do."""
    if problem.batch_shape or problem.theta_s.shape[-1] > LARGEST:
        return None
    try:
        return Rational(problem)
    except NotPSDError:
        return None


@lru_cache(maxsize=8)
def solve(problem: QuadraticProblem, strategy: Strategy) -> Gaps:
    """The minimiser of a strategy and its gaps."""
    exact = rational(problem)
    if any(np.ndim(value) for value in vars(strategy).values() if value is not None):
        exact = None
    match strategy:
        case LossConstraint(lam=None):
            given = strategy.strength
            if exact is not None:
                return exactly.constrained(exact, problem, float(given))
            return floating.constrained(problem, given)
        case LossConstraint():
            if exact is not None:
                return exactly.penalised(exact, float(strategy.strength))
            return floating.penalised(problem, strategy.strength)
        case ParameterConstraint():
            lam, radius = 0.0, strategy.radius
        case Hybrid():
            lam, radius = strategy.lam, strategy.radius
    if exact is not None:
        return exactly.within_ball(exact, problem, float(lam), float(radius))
    return floating.within_ball(problem, lam, radius)


@dataclass(frozen=True, eq=False)
class Start:
    """``f_f`` around theta_s: its gap there in nats and the norm of its gradient, ``[...]``."""

    gap: Enclosure
    slope: Enclosure


@lru_cache(maxsize=4)
def start(problem: QuadraticProblem) -> Start:
    """What theta_s has still to gain on the task, and how steep the task loss is there."""
    exact = rational(problem)
    if exact is not None:
        return Start(Enclosure.of_fractions(exact.start), exactly.root(exact.squared_slope))
    return Start(floating.start(problem), floating.slope(problem))


@dataclass(frozen=True, eq=False)
class Comparator:
    """Upper limits of both gaps of one point, nats, ``[...]``."""

    safety: Array
    capability: Array


@lru_cache(maxsize=4)
def comparators(problem: QuadraticProblem) -> dict[str, Comparator]:
    """The best minimiser of f_f ("task") and of f_s ("proxy"), or points as near as floats go."""
    exact = rational(problem)
    if exact is None:
        return {side: Comparator(*gaps) for side, gaps in floating.comparators(problem).items()}
    points = {"task": exact.task_optimum, "proxy": exact.proxy_optimum}
    return {
        side: Comparator(*(Enclosure.of_fractions(g).upper for g in exact.gaps(point)))
        for side, point in points.items()
    }


def least_sum(problem: QuadraticProblem, lam: Array | float) -> tuple[Array, Array]:
    """``G_f`` and ``lam G_s`` where their sum is least over all theta, from below, ``[...]``."""
    exact = rational(problem)
    if exact is None or np.ndim(lam):
        return floating.least_sum(problem, np.asarray(lam, dtype=np.float64))
    return exactly.least_sum(exact, float(lam))


def orthogonal(problem: QuadraticProblem) -> np.ndarray:
    """Whether ``H_s H_f = 0``: no direction is shared, ``[...]`` bool."""
    exact = rational(problem)
    if exact is not None:
        return np.asarray(exact.orthogonal)
    return floating.orthogonal(problem)
