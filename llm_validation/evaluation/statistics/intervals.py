"""Intervals for shares and for means over items and seeds, honest where the items are few."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from theory.confidence import Interval, wilson
from theory.resampling import interval_of_equals, percentile_interval, resampled_counts

__all__ = [
    "DRAWS",
    "FEW",
    "FEW_SHARES",
    "difference_over_items_and_seeds",
    "mean_over_items_and_seeds",
    "no_narrower",
    "paired_shares",
    "wilson",
]

DRAWS = 4000
FEW, FEW_SHARES = 10, 30
"""Items below which a percentile bootstrap is too narrow: of any scores, of zeros and ones."""


def paired_shares(new: ArrayLike, old: ArrayLike, *, level: float = 0.95) -> Interval:
    """The share that ``new [n]`` is less that of ``old [n]``, zeros and ones of the same n items.

    Items that all stayed the same do not give an interval without width, as a bootstrap would. NaN
    without items. Source: Bonett & Price 2012.
    """
    new, old = np.asarray(new, dtype=np.float64), np.asarray(old, dtype=np.float64)
    n = new.size
    if not n:
        return Interval(float("nan"), -1.0, 1.0)
    rose, fell = float((new > old).sum()), float((new < old).sum())
    p, q = (rose + 1.0) / (n + 2.0), (fell + 1.0) / (n + 2.0)
    half = stats.norm.ppf(0.5 + level / 2.0) * np.sqrt((p + q - (p - q) ** 2) / (n + 2.0))
    estimate = (rose - fell) / n
    low, high = max(p - q - half, -1.0), min(p - q + half, 1.0)
    return Interval(estimate, float(min(low, estimate)), float(max(high, estimate)))


def no_narrower(
    found: Interval, items: ArrayLike, *, span: float | None, level: float = 0.95
) -> Interval:
    """A bootstrap's interval for the mean of ``items [n]``, at least as wide as n items allow.

    Of fewer than ten it is widened to Student's, of items that are all alike to what as many equal
    ones leave open, ``span`` being how far apart two items may be (None: unknown).
    """
    items = np.asarray(items, dtype=np.float64)
    n = items.size
    if n < 2 or not np.isfinite(found.lower):
        return found
    if np.ptp(items) <= 1e-12 * np.abs(items).max():
        return interval_of_equals(found.estimate, n, span=span, level=level)
    if n >= FEW:
        return found
    half = float(stats.t.ppf(0.5 + level / 2.0, n - 1) * items.std(ddof=1) / np.sqrt(n))
    return Interval(
        found.estimate,
        min(found.lower, found.estimate - half),
        max(found.upper, found.estimate + half),
    )


def mean_over_items_and_seeds(
    scores: ArrayLike, *, rng: np.random.Generator, level: float = 0.95, draws: int = DRAWS
) -> Interval:
    """The mean of ``scores [seeds, items]`` with a percentile bootstrap interval.

    Items are resampled, and seeds too where there are two or more: the same resampled items serve
    every seed. NaN scores are missing and left out of the mean. A single item says nothing about
    others: the interval is then the whole line. Raises ValueError for another shape.
    """
    scores = _scores(scores)
    estimate = _mean(scores)
    if scores.shape[1] < 2 or np.isnan(estimate):
        return Interval(estimate, -np.inf, np.inf)
    items = resampled_counts(scores.shape[1], rng, draws)
    means = _resampled_means(scores, items, rng)
    return percentile_interval(estimate, means, level=level, undefined="drop")


def difference_over_items_and_seeds(
    scores: ArrayLike,
    base: ArrayLike,
    *,
    rng: np.random.Generator,
    level: float = 0.95,
    draws: int = DRAWS,
) -> Interval:
    """The mean of ``scores [seeds, n]`` less that of ``base [seeds, n]``, paired by item.

    Both see the same resampled items; each resamples seeds of its own. Items where either has no
    score at all are left out of both.
    """
    scores, base = _scores(scores), _scores(base)
    if scores.shape[1] != base.shape[1]:
        raise ValueError(f"{scores.shape[1]} items are not paired with {base.shape[1]}")
    paired = ~(np.isnan(scores).all(axis=0) | np.isnan(base).all(axis=0))
    scores, base = scores[:, paired], base[:, paired]
    if not paired.any():
        return Interval(float("nan"), -np.inf, np.inf)
    estimate = _mean(scores) - _mean(base)
    if scores.shape[1] < 2:
        return Interval(estimate, -np.inf, np.inf)
    items = resampled_counts(scores.shape[1], rng, draws)
    means = _resampled_means(scores, items, rng) - _resampled_means(base, items, rng)
    return percentile_interval(estimate, means, level=level, undefined="drop")


def _scores(scores: ArrayLike) -> np.ndarray:
    scores = np.atleast_2d(np.asarray(scores, dtype=np.float64))
    if scores.ndim != 2 or not scores.size:
        raise ValueError(f"scores have the shape {scores.shape}, not [seeds, items]")
    return scores


def _mean(scores: np.ndarray) -> float:
    """Over all scores that are there; NaN without any."""
    known = ~np.isnan(scores)
    return float(scores[known].mean()) if known.any() else float("nan")


def _resampled_means(scores: np.ndarray, items: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Means of ``scores [seeds, n]`` over resampled items and seeds, ``[draws]``; NaN if empty."""
    seeds, draws = len(scores), len(items)
    known = ~np.isnan(scores)
    values = np.where(known, scores, 0.0)
    chosen = (
        rng.multinomial(seeds, np.full(seeds, 1.0 / seeds), size=draws)
        if seeds > 1
        else np.ones((draws, 1), dtype=np.int64)
    )
    items = items.astype(np.float64)
    total = ((items @ values.T) * chosen).sum(axis=1)
    number = ((items @ known.T.astype(np.float64)) * chosen).sum(axis=1)
    with np.errstate(invalid="ignore"):
        return total / number
