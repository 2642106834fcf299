"""From the first tenth of a fine-tune to its end: an estimate, and how far off it may be."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from theory.confidence import Interval

STEEPEST = 2.0
"""The exponent of T19's onset against training time. A gradient that avoids every safety-sensitive
direction starts slower and then grows faster than this: such a rise is underestimated."""


_EXPONENTS = np.linspace(0.0, STEEPEST, 81)


def extrapolate(
    times: ArrayLike, rises: ArrayLike, errors: ArrayLike, end: float, *, level: float = 0.9
) -> Interval:
    """The rise at ``end`` from those at ``times [n]``, as ``rise = c time^p`` with p in [0, 2].

    ``times`` grow and are above 0, ``end`` is not before the last; ``rises`` and their standard
    ``errors`` are in nats per token. Each p has its least squares c; those p whose squares are
    near the least at ``level`` make the interval, each with the error of its c (larger where no p
    fits). It is an estimate without a failure probability: a fine-tune may leave this law. Raises
    ValueError for values that are not finite, or in no such order. Source: T19 of docs/theorems.md.
    """
    times, rises, errors = (np.asarray(v, dtype=np.float64) for v in (times, rises, errors))
    if not (np.isfinite(rises).all() and np.isfinite(errors).all() and (errors >= 0).all()):
        raise ValueError("rises and errors must be finite, errors not negative.")
    if not ((np.diff(times) > 0).all() and times[0] > 0 and times[-1] <= end < np.inf):
        raise ValueError("times must grow from above 0 to at most the end.")
    weights = np.maximum(errors, 1e-12) ** -2.0
    shapes = (times / times[-1]) ** _EXPONENTS[:, None]
    information = (weights * shapes**2).sum(axis=1)
    scales = (weights * shapes * rises).sum(axis=1) / information
    squares = (weights * (rises - scales[:, None] * shapes) ** 2).sum(axis=1)
    excess = squares - squares.min()
    misfit = max(1.0, squares.min() / max(1, len(times) - 2))
    quantile = float(stats.norm.ppf(0.5 + level / 2.0))
    growth = (end / times[-1]) ** _EXPONENTS
    half = quantile * np.sqrt(misfit / information)
    near = excess <= misfit * quantile**2
    belief = np.exp(-0.5 * excess / misfit)
    middle = int(np.abs(_EXPONENTS - np.average(_EXPONENTS, weights=belief)).argmin())
    value = float(scales[middle] * growth[middle])
    low = float(((scales - half) * growth)[near].min())
    high = float(((scales + half) * growth)[near].max())
    return Interval(value, min(low, value), max(high, value))
