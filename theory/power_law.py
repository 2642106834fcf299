"""A power law ``y = c x^p`` fitted to positive measurements, with an interval for its exponent."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from theory.confidence import Interval
from theory.divergence import Array


@dataclass(frozen=True)
class PowerLaw:
    """``y = coefficient x^exponent``; ``exponent`` has a t interval on ``used - 2`` degrees.

    Two points leave no degree of freedom: the interval is then the whole line. ``left_out``
    counts the measurements without a logarithm, which the fit could not use.
    """

    exponent: Interval
    coefficient: float
    used: int
    left_out: int = 0

    def __call__(self, x: ArrayLike) -> Array:
        """The fitted ``y`` at ``x [...] > 0``."""
        return self.coefficient * np.asarray(x, dtype=np.float64) ** self.exponent.estimate


def fit_power_law(
    x: ArrayLike, y: ArrayLike, *, errors: ArrayLike | None = None, level: float = 0.9
) -> PowerLaw:
    """Least squares of ``log y`` on ``log x``, both ``[n]``; weights ``(y / errors)^2`` if given.

    The exponent's standard error is taken from the residuals, and from ``errors`` (standard errors
    of ``y``, its unit) where those say more. Values ``y <= 0`` are left out and counted. Raises
    ValueError for ``x <= 0``, an error ``<= 0``, values that are not finite, unequal lengths, or
    fewer than two different ``x`` left.
    """
    x, y = (np.asarray(values, dtype=np.float64) for values in (x, y))
    errors = None if errors is None else np.asarray(errors, dtype=np.float64)
    if x.ndim != 1 or x.shape != y.shape or (errors is not None and errors.shape != x.shape):
        raise ValueError("a power law needs x, y and errors of one length [n].")
    if not (np.isfinite(x) & (x > 0)).all():
        raise ValueError("a power law needs finite x greater than 0.")
    if not np.isfinite(y).all():
        raise ValueError("a power law needs finite y.")
    if errors is not None and not (np.isfinite(errors) & (errors > 0)).all():
        raise ValueError("errors must be finite and greater than 0.")
    if not 0.0 < level < 1.0:
        raise ValueError(f"level is {level}: it must lie in (0, 1).")
    use = y > 0
    if np.unique(x[use]).size < 2:
        raise ValueError("a power law needs positive y at two different x at least.")
    a, b = np.log(x[use]), np.log(y[use])
    weight = np.ones_like(a) if errors is None else (y[use] / errors[use]) ** 2
    mean_a, mean_b = np.average(a, weights=weight), np.average(b, weights=weight)
    spread = float((weight * (a - mean_a) ** 2).sum())
    exponent = float((weight * (a - mean_a) * (b - mean_b)).sum() / spread)
    residual = (b - mean_b) - exponent * (a - mean_a)
    freedom = a.size - 2
    half = np.inf
    if freedom > 0:
        scale = float((weight * residual**2).sum()) / freedom
        if errors is not None:
            scale = max(scale, 1.0)
        half = float(stats.t.ppf(0.5 + level / 2.0, freedom) * np.sqrt(scale / spread))
    return PowerLaw(
        exponent=Interval(exponent, exponent - half, exponent + half),
        coefficient=float(np.exp(mean_b - exponent * mean_a)),
        used=int(a.size),
        left_out=int(x.size - a.size),
    )
