"""Paired tests over items or runs, with effect sizes: Wilcoxon, Friedman, Shapiro-Wilk.

Every statistic is scipy's; what is added is what it leaves undefined (no difference at all, one
item) and the effect sizes.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from finebound.results.compare import Friedman, Normality, SignedRank

SAWILOWSKY = (
    (2.0, "huge"),
    (1.2, "very large"),
    (0.8, "large"),
    (0.5, "medium"),
    (0.2, "small"),
    (0.01, "very small"),
)
"""Cohen's d from which an effect has the name (Sawilowsky 2009)."""


def signed_rank(
    differences: ArrayLike, *, first: str = "", second: str = "", tests: int = 1
) -> SignedRank:
    """Wilcoxon's two-sided signed-rank test that ``differences [n]`` are symmetric about 0.

    Zero differences are dropped before scipy chooses between the exact and the normal distribution:
    six differences among many zeros are few. If none is left, p is 1 and the effect 0. ``tests`` is
    the size of the Bonferroni family. Raises ValueError for differences that are not finite.
    """
    differences = np.asarray(differences, dtype=np.float64)
    if differences.ndim != 1 or not differences.size or not np.isfinite(differences).all():
        raise ValueError("paired differences must be finite, one for each pair")
    others = differences[differences != 0.0]
    nonzero = others.size
    statistic, p, z = 0.0, 1.0, 0.0
    if nonzero:
        with warnings.catch_warnings():
            # Few pairs: scipy warns, and n_nonzero says so.
            warnings.simplefilter("ignore")
            found: Any = stats.wilcoxon(others)
            normal: Any = stats.wilcoxon(others, method="asymptotic")
        statistic, p = float(found.statistic), float(found.pvalue)
        z = 0.0 if np.isnan(normal.zstatistic) else float(normal.zstatistic)
    effect = abs(z) / np.sqrt(nonzero) if nonzero else 0.0
    return SignedRank(
        first=first,
        second=second,
        n=differences.size,
        n_nonzero=nonzero,
        median=float(np.median(differences)),
        statistic=statistic,
        p_value=p,
        p_adjusted=min(1.0, tests * p),
        z=z,
        effect=float(effect),
        band=band(float(effect)),
    )


def friedman(scores: ArrayLike) -> Friedman:
    """Friedman's test of ``scores [n, k]``, k >= 3 methods on the same n blocks, ties corrected.

    W = chi2 / (n (k - 1)); when no block tells the methods apart, W is 0 and p is 1. Raises
    ValueError for fewer than three methods.
    """
    scores = np.asarray(scores, dtype=np.float64)
    if scores.ndim != 2 or scores.shape[1] < 3 or not scores.size or not np.isfinite(scores).all():
        raise ValueError("Friedman's test takes finite scores [n, k] of k >= 3 methods")
    n, k = scores.shape
    if (scores == scores[:, :1]).all():
        return Friedman(n=n, k=k, statistic=0.0, p_value=1.0, kendall_w=0.0)
    found = stats.friedmanchisquare(*scores.T)
    chi2 = float(found.statistic)
    return Friedman(
        n=n, k=k, statistic=chi2, p_value=float(found.pvalue), kendall_w=chi2 / (n * (k - 1))
    )


def post_hoc(scores: Mapping[str, ArrayLike]) -> list[SignedRank]:
    """Wilcoxon's test of every pair of methods, Bonferroni over the pairs.

    ``scores[method]`` are the methods' scores ``[n]`` on the same blocks.
    """
    columns = {name: np.asarray(values, dtype=np.float64) for name, values in scores.items()}
    pairs = list(combinations(columns, 2))
    return [
        signed_rank(columns[a] - columns[b], first=a, second=b, tests=len(pairs)) for a, b in pairs
    ]


def shapiro(values: ArrayLike) -> Normality | None:
    """Shapiro-Wilk's test; None for fewer than three values and for values that are all alike."""
    values = np.asarray(values, dtype=np.float64)
    if values.size < 3 or np.ptp(values) == 0.0:
        return None
    with warnings.catch_warnings():
        # Above 5,000 values the p-value is rough: at that size it is nearly always 0.
        warnings.simplefilter("ignore")
        found = stats.shapiro(values)
    return Normality(n=values.size, statistic=float(found.statistic), p_value=float(found.pvalue))


def band(effect: float) -> str:
    """The name of an effect r, through d = 2 r / sqrt(1 - r^2): "negligible" to "huge"."""
    if not 0.0 <= effect <= 1.0 + 1e-12:
        raise ValueError(f"an effect r lies in [0, 1], not at {effect}")
    with np.errstate(divide="ignore"):
        d = float(np.divide(2.0 * effect, np.sqrt(max(0.0, 1.0 - effect**2))))
    return band_of_d(d)


def band_of_d(d: float) -> str:
    """The name of a standardised difference (Sawilowsky 2009)."""
    for threshold, name in SAWILOWSKY:
        if abs(d) >= threshold:
            return name
    return "negligible"
