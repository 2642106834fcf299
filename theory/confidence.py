"""Finite samples: intervals whose failure probability is stated (T14); see also ``resampling``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from theory.divergence import Array

Side = Literal["lower", "upper", "two-sided"]

_CHUNK = 4_000_000  # resampled numbers held at once: 32 MB


@dataclass(frozen=True)
class Interval:
    """``lower <= truth <= upper`` except with probability ``failure_probability``.

    ``failure_probability`` is None for an interval that holds only asymptotically (bootstrap):
    what uses it is ESTIMATED. ``estimate`` is the sample's own value.
    """

    estimate: float
    lower: float
    upper: float
    failure_probability: float | None = None


def empirical_bernstein(
    losses: ArrayLike, *, bound: float, p: float, lower: float = 0.0
) -> Interval:
    """Two-sided interval for the mean of i.i.d. ``losses [n]`` that lie in ``[lower, bound]``.

    Each side fails with probability at most ``p / 2``, the interval with at most ``p``. For paired
    differences of losses in ``[0, B]`` pass ``lower=-B, bound=B``: the range is then ``2 B``. Unit:
    that of the losses. One loss says nothing beyond the range. Raises ValueError for losses that
    leave the range. Source: T14 of docs/theorems.md (Maurer & Pontil 2009).
    """
    losses = checked_sample("losses", losses)
    check_probability(p)
    if not bound > lower:
        raise ValueError(f"the range [{lower}, {bound}] is empty.")
    if losses.min() < lower or losses.max() > bound:
        raise ValueError(
            f"losses from {losses.min():.6g} to {losses.max():.6g} leave [{lower}, {bound}]."
        )
    mean = float(losses.mean())
    n = losses.size
    if n < 2:
        return Interval(mean, float(lower), float(bound), p)
    # T14's one-sided radius has log(2 / p); each side here gets p / 2.
    log = np.log(4.0 / p)
    radius = np.sqrt(2.0 * losses.var(ddof=1) * log / n) + 7.0 * (bound - lower) * log / (
        3.0 * (n - 1)
    )
    return Interval(mean, float(max(lower, mean - radius)), float(min(bound, mean + radius)), p)


def sign_flip_p_value(
    differences: ArrayLike, *, rng: np.random.Generator, resamples: int = 4999
) -> float:
    """P-value that paired ``differences [n]`` are symmetric about 0; two-sided, valid for any n.

    Monte-Carlo sign flips of the mean, the observed one counted, so it is never below
    ``1 / (resamples + 1)``.
    """
    differences = checked_sample("differences", differences)
    observed = abs(differences.sum())
    slack = 1e-12 * np.abs(differences).sum()
    step = max(1, _CHUNK // differences.size)
    extreme = 0
    for start in range(0, resamples, step):
        size = (min(step, resamples - start), differences.size)
        signs = 2.0 * rng.integers(2, size=size, dtype=np.int8) - 1.0
        extreme += int((np.abs(signs @ differences) >= observed - slack).sum())
    return (1 + extreme) / (1 + resamples)


def clopper_pearson(k: int, n: int, *, p: float, side: Side = "two-sided") -> Interval:
    """Exact interval for a probability of which ``k`` of ``n`` independent trials came true.

    ``side`` "lower" gives ``[lower, 1]`` and "upper" ``[0, upper]``, each failing with probability
    at most ``p``; "two-sided" splits ``p`` in halves. ``n = 0`` gives ``[0, 1]``. Raises ValueError
    unless ``0 <= k <= n``.
    """
    check_probability(p)
    if not 0 <= k <= n:
        raise ValueError(f"{k} of {n} trials is not a count.")
    if side not in ("lower", "upper", "two-sided"):
        raise ValueError(f"side {side!r} is none of lower, upper, two-sided.")
    tail = p / 2.0 if side == "two-sided" else p
    lower = stats.beta.ppf(tail, k, n - k + 1) if k > 0 and side != "upper" else 0.0
    upper = stats.beta.ppf(1.0 - tail, k + 1, n - k) if k < n and side != "lower" else 1.0
    return Interval(k / n if n else 0.5, float(lower), float(upper), p)


def wilson(successes: int, n: int, *, level: float = 0.95) -> Interval:
    """Wilson's score interval for a share of ``n`` independent items.

    Without items the share is NaN and the interval [0, 1]. Raises ValueError for counts that are
    no share. Source: Wilson 1927, by way of scipy.
    """
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} of {n} is not a share")
    if n == 0:
        return Interval(float("nan"), 0.0, 1.0)
    found = stats.binomtest(successes, n).proportion_ci(level, method="wilson")
    share = successes / n
    # At 0 and n the formula touches the share up to rounding.
    return Interval(share, float(min(found.low, share)), float(max(found.high, share)))


def multinomial_tv_radius(n: int, k: int, p: float) -> float:
    """``TV(empirical, true)`` of ``n`` draws over ``k`` cells exceeds this with probability <= p.

    ``E TV <= 1/2 sqrt((k - 1) / n)`` (Cauchy-Schwarz), one draw moves TV by at most ``1/n``
    (McDiarmid). The cells must be fixed before the draws. At most 1; 1 for no draws. Source: T15
    of docs/theorems.md.
    """
    check_probability(p)
    if k < 1 or n < 0:
        raise ValueError(f"{n} draws over {k} cells make no distribution.")
    if k == 1:
        return 0.0
    if n == 0:
        return 1.0
    return float(min(1.0, 0.5 * np.sqrt((k - 1) / n) + np.sqrt(np.log(1.0 / p) / (2.0 * n))))


def checked_sample(name: str, values: ArrayLike) -> Array:
    """The values as float64 ``[n]``. Raises ValueError for none, and for one that is not finite."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"{name} has shape {array.shape}: it needs [n] with n >= 1.")
    if not np.isfinite(array).all():
        raise ValueError(
            f"{name} holds a NaN or an infinity at row {np.argmin(np.isfinite(array)) + 1}."
        )
    return array


def check_probability(p: float) -> None:
    """Raises ValueError for what is no probability between 0 and 1."""
    if not 0.0 < p < 1.0:
        raise ValueError(f"the probability {p} is not in (0, 1).")
