"""T20: the arithmetic of a coarse unroll, which trains for few large steps. An estimate.

The unroll itself needs a model; what stands here is how its step size is chosen, how its result
is corrected for the radius and the path, and how sure its repetitions are.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from theory.confidence import Interval
from theory.divergence import Array
from theory.power_law import PowerLaw, fit_power_law


def displacement_law(displacements: ArrayLike, rates: ArrayLike, steps: ArrayLike) -> PowerLaw:
    """``r = rate * law(steps)`` fitted to the first steps of a run; ``displacements [n]`` > 0.

    ``steps [n]`` count from the start, ``rates`` is the mean rate over these steps, one or ``[n]``.
    The exponent is 1 where the gradient keeps its direction and 1/2 for a random walk. Raises
    ValueError for values that are not positive and finite, or only one step count.
    """
    values = np.broadcast_arrays(*(np.asarray(v, np.float64) for v in (displacements, rates)))
    for name, array in zip(("displacements", "rates"), values, strict=True):
        if not (np.isfinite(array) & (array > 0)).all():
            raise ValueError(f"{name} must be finite and greater than 0.")
    return fit_power_law(steps, values[0] / values[1])


def matching_rate(
    displacements: ArrayLike,
    rates: ArrayLike,
    steps: ArrayLike,
    target: float,
    *,
    coarse_steps: int,
) -> float:
    """The rate at which ``coarse_steps`` steps reach the displacement ``target > 0``.

    ``target / (c K^b)`` with ``r = c eta T^b`` fitted to a run's first steps as in
    ``displacement_law``, which also gives the target of T steps at mean rate eta:
    ``eta * law(T)``. The rate is then ``eta (T / K)^b``. Raises ValueError for a target that is
    not positive or ``coarse_steps`` below 1. Source: T20 of docs/theorems.md.
    """
    if not 0 < target < np.inf or coarse_steps < 1:
        raise ValueError("target must be finite and above 0, coarse_steps at least 1.")
    return float(target / displacement_law(displacements, rates, steps)(coarse_steps))


def radius_correction(
    gap: ArrayLike,
    slope: ArrayLike,
    r_forecast: ArrayLike,
    r_target: ArrayLike,
    *,
    form: Literal["linear", "power"] = "linear",
) -> Array:
    """The gap at ``r_target`` from the unroll's ``gap`` and ``slope = d gap / d r``, nats.

    "linear" is the tangent; "power" keeps the exponent ``slope r / gap``, which is exact for
    ``gap = c r^p`` and needs ``gap != 0``. Broadcasts. Raises ValueError for a radius that is not
    positive, values that are not finite, or a gap of 0 in the power form.
    """
    gap, slope, start, end = np.broadcast_arrays(
        *(np.asarray(v, dtype=np.float64) for v in (gap, slope, r_forecast, r_target))
    )
    if not all(np.isfinite(v).all() for v in (gap, slope, start, end)):
        raise ValueError("gap, slope and radii must be finite.")
    if not ((start > 0).all() and (end > 0).all()):
        raise ValueError("radii must be greater than 0.")
    if form == "linear":
        return gap + slope * (end - start)
    if form != "power":
        raise ValueError(f"form is {form!r}: it is linear or power.")
    if (gap == 0).any():
        raise ValueError("a gap of 0 has no exponent: use the linear form.")
    return gap * (end / start) ** (slope * start / gap)


def richardson(
    coarse: ArrayLike, fine: ArrayLike, order: float = 1.0, *, ratio: float = 2.0
) -> Array:
    """What ``coarse`` (K steps) and ``fine`` (``ratio`` K steps) say of infinitely many, nats.

    ``fine + (fine - coarse) / (ratio^order - 1)``: exact where the error is ``c K^(-order)``. One
    step of plain gradient descent at a time has order 1. The difference from ``fine`` is the size
    of the path's error. Raises ValueError unless ``order > 0`` and ``ratio > 1``.
    """
    if not (order > 0 and ratio > 1):
        raise ValueError("order must be greater than 0 and ratio greater than 1.")
    coarse, fine = np.asarray(coarse, dtype=np.float64), np.asarray(fine, dtype=np.float64)
    return fine + (fine - coarse) / np.expm1(order * np.log(ratio))


def interval(samples: ArrayLike, level: float = 0.9, *, new_run: bool = False) -> Interval:
    """t interval for the mean of repeated unrolls, or for one ``new_run`` like them.

    ``samples [n]``, or ``[n, k]`` with k seeds on each of n subsamples: then only the n means
    count as independent (n - 1 degrees of freedom), and a new run adds the spread between seeds.
    Assumes normal repetitions, so it carries no failure probability; one repetition gives the
    whole line. It knows nothing of errors that all repetitions share. Raises ValueError for no
    sample, one that is not finite, or a level outside (0, 1).
    """
    samples = np.asarray(samples, dtype=np.float64)
    if samples.ndim not in (1, 2) or samples.size == 0:
        raise ValueError("samples needs [n] or [n, seeds], with at least one.")
    if not np.isfinite(samples).all():
        raise ValueError("samples holds a NaN or an infinity.")
    if not 0.0 < level < 1.0:
        raise ValueError(f"level is {level}: it must lie in (0, 1).")
    table = samples if samples.ndim == 2 else samples[:, None]
    n, seeds = table.shape
    means = table.mean(axis=1)
    mean = float(means.mean())
    if n < 2:
        return Interval(mean, -np.inf, np.inf)
    between = float(means.var(ddof=1))
    variance = between / n
    if new_run:
        within = float(table.var(axis=1, ddof=1).mean()) if seeds > 1 else 0.0
        variance += between + within * (1.0 - 1.0 / seeds)
    half = float(stats.t.ppf(0.5 + level / 2.0, n - 1) * np.sqrt(variance))
    return Interval(mean, mean - half, mean + half)
