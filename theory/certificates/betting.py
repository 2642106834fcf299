"""Certificates by betting: the mean of bounded losses, valid whenever it is read (T23).

Against the null ``E D >= b`` a capital of 1 is spread over constant bets. A bet risks the fraction
f of its capital on each loss, ``1 + f (b - D) / (1 - b)``, which cannot become negative and grows
on average only where the null is false. The whole capital is a supermartingale under the null, so
that it ever reaches 1 / p with probability at most p (Ville). No bet looks at a loss.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit

from theory.confidence import check_probability, checked_sample
from theory.divergence import Array

# Fractions at risk and how the capital is spread. All of it at risk is the best bet as long as no
# loss is 1 and is lost with the first. The others are a bell over the logits around the fractions
# that are best for a few losses in a hundred, and a little everywhere.
_LOGITS = np.linspace(-4.0, 5.0, 28)
_BELL = np.exp(-0.5 * ((_LOGITS - 1.0) / 1.5) ** 2) + 0.02
_AT_RISK = 0.2
_FRACTIONS = np.append(expit(_LOGITS), 1.0)
_SHARES = np.append((1.0 - _AT_RISK) * _BELL / _BELL.sum(), _AT_RISK)
# The log of a capital that is gone; a number, so that no count of it gives NaN.
_GONE = -1e6
# Products of up to 10^7 factors are exact to this much; p-values are that much larger.
_ROUNDING = 1e-8
_HALVINGS = 30
_FEW = 8


def mean_p_value(losses: ArrayLike, bound: float) -> float:
    """P-value of the null ``E D >= bound``, at most 1; valid at any time of stopping.

    ``losses [n]``: D in [-1, 1] in the order in which they were read, such as the aligned model's
    safe label minus the model's. ``1 / max_n M_n``: under the null it is ever at most p with
    probability at most p, so that reading may stop as soon as it is small enough. Raises
    ValueError for losses outside [-1, 1], none, NaN, and for a bound outside [-1, 1). Source: T23
    of docs/theorems.md (Waudby-Smith and Ramdas 2024).
    """
    _check_bound(bound)
    return _PValues(losses).at(bound)


def mean_upper_limit(losses: ArrayLike, confidence: float) -> float:
    """The smallest bound in [-1, 1] that is rejected at ``1 - confidence``, from above.

    With probability at least ``confidence`` the mean of the losses is below it, also where reading
    was stopped because of it. 1 where nothing is rejected. Arguments and errors as in
    :func:`mean_p_value`.
    """
    check_probability(confidence)
    p_values = _PValues(losses)
    low, high = -1.0, 1.0  # every bound from high on is rejected, or high is 1
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        # The p-value falls in the bound, because every factor grows in it.
        if p_values.at(middle) <= 1.0 - confidence:
            high = middle
        else:
            low = middle
    return high


def log_capital(losses: ArrayLike, counts: ArrayLike, bound: float) -> Array:
    """``log M`` after so many of each loss: ``losses [k], counts [..., k] -> [...]``.

    The order does not matter. ``M >= 1 / p`` rejects ``E D >= bound`` at p. Raises ValueError for
    a bound outside [-1, 1).
    """
    _check_bound(bound)
    return _log_of_all(np.asarray(counts, dtype=np.float64) @ _log_factors(losses, bound))


def _log_factors(losses: ArrayLike, bound: float, fractions: ArrayLike = _FRACTIONS) -> Array:
    """How a loss changes each bet, ``[k] -> [k, bets]``."""
    gains = (bound - np.asarray(losses, dtype=np.float64)) / (1.0 - bound)
    with np.errstate(divide="ignore"):
        return np.maximum(np.log1p(np.maximum(np.asarray(fractions) * gains[:, None], -1.0)), _GONE)


def _log_of_all(logs: Array) -> Array:
    """The log of the whole capital from that of each bet, ``[..., bets] -> [...]``."""
    largest = logs.max(axis=-1, keepdims=True)
    return largest[..., 0] + np.log(np.exp(logs - largest) @ _SHARES)


class _PValues:
    """The p-value of one sample as a function of the bound."""

    def __init__(self, losses: ArrayLike) -> None:
        self.losses = losses = checked_sample("losses", losses)
        if np.abs(losses).max() > 1.0:
            raise ValueError(f"losses from {losses.min():.6g} to {losses.max():.6g} leave [-1, 1].")
        distinct, which = np.unique(losses, return_inverse=True)
        self.few = distinct if distinct.size <= _FEW else None
        if self.few is not None:
            self.counts = (which[:, None] == np.arange(distinct.size)).cumsum(axis=0, dtype=float)

    def at(self, bound: float) -> float:
        # Every bet gains where D < bound and loses where D > bound: so the capital is largest at
        # the start, at the end or just before a loss above the bound.
        peaks = np.append(np.flatnonzero(self.losses[1:] > bound), self.losses.size - 1)
        if self.few is not None:
            logs = self.counts[peaks] @ _log_factors(self.few, bound)
        else:
            each = (_log_factors(self.losses, bound, [f])[:, 0].cumsum() for f in _FRACTIONS)
            logs = np.stack([log[peaks] for log in each], axis=-1)
        most = float(_log_of_all(logs).max())
        return float(min(1.0, np.exp(-most) * (1.0 + _ROUNDING)))


def _check_bound(bound: float) -> None:
    if not -1.0 <= bound < 1.0:
        raise ValueError(f"the bound {bound} is not in [-1, 1).")
