"""Certificates for a rate alone, and how many probes one needs (T23)."""

from __future__ import annotations

import numpy as np
from scipy import stats

from theory.binary_divergence import binary_kl
from theory.confidence import check_probability, clopper_pearson
from theory.divergence import Array

_MOST_PROBES = 10**9


def rate_p_value(events: int, n: int, bound: float) -> float:
    """P-value of the null "rate >= bound" after ``events`` of ``n`` independent probes; exact.

    The probability of so few events at the bound. ``n`` is fixed before reading (Clopper and
    Pearson 1934); to stop early, use :func:`theory.certificates.betting.mean_p_value`. Raises
    ValueError for what is no count and for a bound outside [0, 1].
    """
    if not 0 <= events <= n:
        raise ValueError(f"{events} of {n} probes is not a count.")
    _check_bound(bound)
    return float(stats.binom.cdf(events, n, bound)) if n else 1.0


def rate_upper_limit(events: int, n: int, confidence: float) -> float:
    """Exact upper confidence limit for a rate; the rate is above it with at most 1 - confidence.

    1 without probes. Raises ValueError as :func:`rate_p_value` does. Source: Clopper and Pearson
    1934.
    """
    check_probability(confidence)
    return clopper_pearson(events, n, p=1.0 - confidence, side="upper").upper


def hoeffding_bentkus_p_value(mean: float, n: int, bound: float) -> float:
    """P-value of the null "E L >= bound" for the mean of ``n`` independent losses in [0, 1].

    The smaller of Hoeffding's and Bentkus' tail bounds; each holds for the mean alone, whatever
    the losses' distribution. Raises ValueError for a mean or bound outside [0, 1] and ``n < 1``.
    Source: Bates et al. 2021; Bentkus 2004.
    """
    if n < 1:
        raise ValueError(f"{n} losses have no mean.")
    if not 0.0 <= mean <= 1.0:
        raise ValueError(f"the mean {mean} is not in [0, 1].")
    _check_bound(bound)
    hoeffding = np.exp(-n * binary_kl(min(mean, bound), bound))
    bentkus = np.e * stats.binom.cdf(np.ceil(n * mean), n, bound)
    return float(min(1.0, hoeffding, bentkus))


def probes_needed(
    budget: float, confidence: float, *, expected: float = 0.0, power: float = 0.8
) -> int:
    """The least number of probes that certifies ``rate < budget`` with probability ``power``.

    ``expected`` is the rate that the model is thought to have; at 0 no event happens and the
    certificate is sure. The number is that of :func:`rate_p_value`, read once at the end. Raises
    ValueError unless ``0 <= expected < budget < 1`` and for what is no probability, and where more
    than 10^9 probes would be needed.
    """
    check_probability(confidence)
    check_probability(power)
    if not 0.0 <= expected < budget < 1.0:
        raise ValueError(
            f"an expected rate of {expected} cannot be certified to be below {budget}: "
            "0 <= expected < budget < 1 is needed."
        )
    start, step = 0, 64
    while True:
        # For each number of events the fewest probes that still certify: more only add events.
        events = np.arange(start, start + step, dtype=float)
        probes = _fewest(events, budget, 1.0 - confidence)
        enough = stats.binom.cdf(events, probes, expected) >= power
        needed = probes[np.argmax(enough)] if enough.any() else probes[-1]
        if needed > _MOST_PROBES:
            raise ValueError(f"more than {_MOST_PROBES} probes would be needed.")
        if enough.any():
            return int(needed)
        start, step = start + step, 2 * step


def _fewest(events: Array, budget: float, level: float) -> Array:
    """The least n at which at most k events have probability <= level at the budget, ``[k]``."""
    low, high = events.astype(np.int64), np.full(events.shape, 2 * _MOST_PROBES)
    while (high - low > 1).any():
        middle = (low + high) // 2
        passes = stats.binom.cdf(events, middle, budget) <= level
        high, low = np.where(passes, middle, high), np.where(passes, low, middle)
    return high


def _check_bound(bound: float) -> None:
    if not 0.0 <= bound <= 1.0:
        raise ValueError(f"the bound {bound} is not in [0, 1].")
