"""What the statements of Case I share: their assumptions in words and safe arithmetic."""

from __future__ import annotations

import numpy as np

from theory.divergence import Array
from theory.problem import Constant, Constants

TABULAR = "(A-T) every conditional table is realisable"
MINIMISER = "theta_lambda minimises f_f + lambda f_hat_s to within delta"
NO_LAMBDA = "needs a loss constraint: this strategy does not penalise the proxy loss"


def per_lambda(amount: Array | float, lam: Array | float) -> Array:
    """``amount / lam``, which is 0 at ``lam = inf`` even for an infinite amount."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return np.where(np.isinf(lam), 0.0, np.asarray(amount) / lam)


def times(mismatch: Array | float, size: Array | float) -> Array:
    """``size * mismatch`` where a zero of either costs nothing, however large the other is."""
    mismatch, size = np.asarray(mismatch), np.asarray(size)
    with np.errstate(invalid="ignore", over="ignore"):
        return np.where((mismatch == 0) | (size == 0), 0.0, size * mismatch)


def ratio(numerator: float, denominator: Array | float) -> Array:
    """``numerator / denominator`` where 0 over anything is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(numerator == 0, 0.0, numerator / denominator)


def finite_samples(problem: Constants, lam: Array | float) -> tuple[Array, tuple[Constant, ...]]:
    """``2 lam e_n + 2 e_m'``: what empirical losses add to the slack of ``f_f + lam f_hat_s``."""
    used = tuple(
        problem.get(name, Constant(0.0))
        for name in ("uniform_deviation_safety", "uniform_deviation_task")
    )
    return times(np.asarray(2.0 * lam), used[0].value) + 2.0 * used[1].value, used


def not_exactly_minimised(problem: Constants) -> str:
    """Why a closed form of the minimiser is out of reach, in words; empty if it is not."""
    names = ("optimality_slack", "uniform_deviation_safety", "uniform_deviation_task")
    above = [name for name in names if name in problem and problem[name].value > 0]
    return f"{' and '.join(above)} > 0: the form holds at the exact minimiser" if above else ""


def trivial_gap(problem: Constants) -> float:
    """No gap exceeds the loss range, nor log V for a class that can answer uniformly."""
    limits = [np.inf]
    if "loss_range" in problem:
        limits.append(problem["loss_range"].value)
    if "vocabulary" in problem:
        limits.append(float(np.log(problem["vocabulary"].value)))
    return min(limits)
