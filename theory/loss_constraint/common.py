"""What the statements of Case I share: their assumptions in words and safe arithmetic."""

from __future__ import annotations

import numpy as np

from theory.divergence import Array
from theory.problem import Constants

TABULAR = "(A-T) every conditional table is realisable"
MINIMISER = "theta_lambda minimises f_f + lambda f_hat_s to within delta"
NO_LAMBDA = "needs a loss constraint: this strategy does not penalise the proxy loss"


def per_lambda(amount: Array | float, lam: Array | float) -> Array:
    """``amount / lam``, which is 0 at ``lam = inf`` even for an infinite amount."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(np.isinf(lam), 0.0, np.asarray(amount) / lam)


def times(mismatch: Array, size: Array) -> Array:
    """``size * mismatch`` where a zero of either costs nothing, however large the other is."""
    with np.errstate(invalid="ignore"):
        return np.where((mismatch == 0) | (size == 0), 0.0, size * mismatch)


def ratio(numerator: float, denominator: Array) -> Array:
    """``numerator / denominator`` where 0 over anything is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(numerator == 0, 0.0, numerator / denominator)


def trivial_gap(problem: Constants) -> float:
    """No gap exceeds the loss range, nor log V for a class that can answer uniformly."""
    limits = [np.inf]
    if "loss_range" in problem:
        limits.append(problem["loss_range"].value)
    if "vocabulary" in problem:
        limits.append(float(np.log(problem["vocabulary"].value)))
    return min(limits)
