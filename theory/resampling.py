"""The bootstrap, once: what is drawn, and the interval that the draws become."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from theory.confidence import Interval, check_probability, checked_sample

_CHUNK = 4_000_000  # resampled numbers held at once: 32 MB


def resampled_rows(n: int, rng: np.random.Generator, draws: int) -> np.ndarray:
    """The rows of each resample of ``n``, with replacement: int64 ``[draws, n]``."""
    return rng.integers(n, size=(draws, n))


def resampled_counts(n: int, rng: np.random.Generator, draws: int) -> np.ndarray:
    """How often each of ``n`` rows is in each resample: int64 ``[draws, n]``."""
    return rng.multinomial(n, np.full(n, 1.0 / n), size=draws)


def percentile_interval(
    estimate: float,
    draws: ArrayLike,
    *,
    level: float = 0.95,
    hold: bool = False,
    undefined: Literal["line", "drop"] = "line",
) -> Interval:
    """The percentile interval of a statistic's resampled values ``draws [k]``.

    ``hold`` widens it to hold the estimate, from which a biased statistic's draws may stay away.
    Values that are not finite make it the whole line, or are dropped; without any it is that too.
    """
    values, estimate = np.asarray(draws, dtype=np.float64), float(estimate)
    known = np.isfinite(values)
    if not known.any() or (undefined == "line" and not (known.all() and np.isfinite(estimate))):
        return Interval(estimate, -np.inf, np.inf)
    values = values[known]
    low, high = np.quantile(values, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    if hold:
        low, high = min(low, estimate), max(high, estimate)
    return Interval(estimate, float(low), float(high))


def ratio_of_sums(part: np.ndarray, count: np.ndarray) -> tuple[float, np.ndarray]:
    """``sum(part) / sum(count)``, and the influence ``[n]`` of each row on it.

    The influence has the mean 0. Its standard deviation over the square root of n is the ratio's
    standard error.
    """
    ratio = float(part.sum() / count.sum())
    return ratio, (part - ratio * count) / count.mean()


def interval_of_equals(
    value: float, n: int, *, span: float | None, level: float = 0.95
) -> Interval:
    """The interval for the mean of which all ``n`` rows have the same ``value``.

    A bootstrap of equal rows has no width, as if nothing else could have been drawn. By Clopper and
    Pearson a share of up to ``1 - ((1 - level) / 2) ** (1 / n)`` of the population may be other
    rows, each off by up to ``span``; the whole line where no span is known.
    """
    if span is None or not n:
        return Interval(float(value), -np.inf, np.inf)
    off = span * (1.0 - ((1.0 - level) / 2.0) ** (1.0 / n))
    return Interval(float(value), float(value - off), float(value + off))


def paired_bootstrap(
    differences: ArrayLike, *, rng: np.random.Generator, level: float = 0.95, resamples: int = 4999
) -> Interval:
    """BCa bootstrap interval for the mean of paired ``differences [n]``, in their unit.

    Covers with probability about ``level`` for large n only, so it carries no failure
    probability. With fewer than two differences the interval is the whole line; without any
    spread it is the common value, as no scale is known. Source: Efron (1987).
    """
    differences = checked_sample("differences", differences)
    check_probability(1.0 - level)
    mean, n = float(differences.mean()), differences.size
    if n < 2:
        return Interval(mean, -np.inf, np.inf)
    centred = differences - mean
    squares = float(centred @ centred)
    if squares <= 0.0:
        return Interval(mean, mean, mean)
    step = max(1, _CHUNK // n)
    means = np.concatenate(
        [
            differences[resampled_rows(n, rng, min(step, resamples - start))].mean(axis=1)
            for start in range(0, resamples, step)
        ]
    )
    below = (np.sum(means < mean) + 0.5 * np.sum(means == mean)) / resamples
    bias = stats.norm.ppf(np.clip(below, 1.0 / resamples, 1.0 - 1.0 / resamples))
    # Of the jackknife's means of the others, in closed form.
    skew = float((centred**3).sum()) / (6.0 * squares**1.5)
    z = bias + stats.norm.ppf([(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    # Far in a tail the correction has no value; the extreme resample is the safe side.
    shrink = np.maximum(1.0 - skew * z, 1e-9)
    low, high = np.quantile(means, stats.norm.cdf(bias + z / shrink))
    return Interval(mean, float(low), float(high))
