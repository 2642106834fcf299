"""How far two measures of the same runs go together: behaviour, or a forecast, against a loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from theory.confidence import Interval
from theory.resampling import percentile_interval, resampled_rows

FEWEST = 4
"""Pairs below which a rank correlation is undetermined."""
DRAWS = 2000


@dataclass(frozen=True)
class Correlation:
    """Spearman's rank correlation of ``n`` pairs with its interval, and Pearson's.

    ``p_value`` is that of scipy's permutation test of Spearman's, exact for up to seven pairs. All
    are NaN where one of the two does not vary.
    """

    n: int
    spearman: Interval
    pearson: float
    p_value: float


def correlation(
    x: ArrayLike,
    y: ArrayLike,
    *,
    rng: np.random.Generator,
    level: float = 0.95,
    draws: int = DRAWS,
    permutations: np.random.Generator | None = None,
) -> Correlation:
    """The correlation of ``x [n]`` and ``y [n]``; pairs with a NaN are dropped.

    The interval is a percentile bootstrap's over pairs, with these exceptions. Below four pairs it
    is [-1, 1]. Of pairs in perfect order every resample is in that order too, so the bootstrap has
    no width: it is then Bonett and Wright's (2000) about the value half a step from perfect, the
    step being a swap of neighbours. It holds 0 where the permutation test cannot tell the
    correlation from none. The test draws from ``permutations`` (default: ``rng``). Raises
    ValueError for unequal lengths.
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if x.shape != y.shape or x.ndim != 1:
        raise ValueError(f"pairs are needed, not {x.shape} beside {y.shape}")
    known = ~(np.isnan(x) | np.isnan(y))
    x, y = x[known], y[known]
    n = x.size
    if n < 2 or np.ptp(x) == 0.0 or np.ptp(y) == 0.0:
        nan = float("nan")
        return Correlation(n, Interval(nan, -1.0, 1.0), nan, nan)
    estimate = spearman(x, y)
    p_value = _permutation_p(x, y, rng if permutations is None else permutations)
    pearson = _pearson(x[None], y[None])[0]
    if n < FEWEST:
        return Correlation(n, Interval(estimate, -1.0, 1.0), float(pearson), p_value)
    if abs(estimate) > 1.0 - 1e-9:
        found = _of_perfect_order(estimate, n, level)
    else:
        rows = resampled_rows(n, rng, draws)
        found = percentile_interval(
            estimate, _spearman(x[rows], y[rows]), level=level, hold=True, undefined="drop"
        )
    if p_value > 1.0 - level:
        found = Interval(estimate, min(found.lower, 0.0), max(found.upper, 0.0))
    return Correlation(n, found, float(pearson), p_value)


def spearman(x: ArrayLike, y: ArrayLike) -> float:
    """Spearman's rank correlation of ``x [n]`` and ``y [n]``, without an interval."""
    found: Any = stats.spearmanr(x, y)
    return float(found.statistic)


def _of_perfect_order(estimate: float, n: int, level: float) -> Interval:
    near = 1.0 - 6.0 / (n * (n**2 - 1))
    spread = np.sqrt((1.0 + near**2 / 2.0) / (n - 3))
    far = float(np.tanh(np.arctanh(near) - stats.norm.ppf(0.5 + level / 2.0) * spread))
    return Interval(estimate, far, 1.0) if estimate > 0.0 else Interval(estimate, -1.0, -far)


def _spearman(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Spearman's correlation of each row of ``[k, n]`` and ``[k, n]``; NaN where one is flat."""
    return _pearson(stats.rankdata(x, axis=1), stats.rankdata(y, axis=1))


def _pearson(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    x, y = (values - values.mean(axis=1, keepdims=True) for values in (x, y))
    with np.errstate(invalid="ignore"):
        return (x * y).sum(axis=1) / np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))


def _permutation_p(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> float:
    """Two-sided p-value of Spearman's correlation over the pairings of ``x`` with ``y``."""
    ranks, others = stats.rankdata(x), stats.rankdata(y) - 0.5 * (y.size + 1)

    def statistic(ranks: np.ndarray, axis: int) -> np.ndarray:
        return (ranks * others).sum(axis=axis)  # the correlation, up to a constant factor

    test: Any = stats.permutation_test  # the stubs know its generator by another name
    found = test(
        (ranks,), statistic, permutation_type="pairings", vectorized=True, n_resamples=9999,
        random_state=rng,
    )  # fmt: skip
    return float(found.pvalue)
