"""Divergences between finite distributions, exact down to tiny differences.

Everything is vectorised over leading axes; the last axis holds the probabilities. Zeros are
right, not NaN: a divergence is ``inf`` where ``q`` misses mass of ``p``. Units: nats.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

# 2 artanh(s) - 2 s = 2 s^3 (1/3 + s^2/5 + s^4/7 + ...); ten terms give float64 for |s| <= 0.18.
_ARTANH_TAIL = tuple(1.0 / (2 * k + 3) for k in range(10))
_SMALL = 0.3


def x_minus_log1p(x: ArrayLike) -> Array:
    """``x - log(1 + x)`` for ``x >= -1`` without cancellation; ``inf`` at ``-1``."""
    x = np.asarray(x, dtype=np.float64)
    small = np.abs(x) <= _SMALL
    near = np.where(small, x, 0.0)
    s = near / (2.0 + near)
    s2 = s * s
    tail = np.zeros_like(s)
    for coefficient in reversed(_ARTANH_TAIL):
        tail = tail * s2 + coefficient
    series = near * near / (2.0 + near) - 2.0 * s * s2 * tail
    if small.all():
        return series
    with np.errstate(divide="ignore"):
        far = x - np.log1p(np.where(small, 0.0, x))
    return np.where(small, series, far)


def kl_shift(p: ArrayLike, shift: ArrayLike, q: ArrayLike) -> Array:
    """``KL(p || q)`` for ``q = p + shift``, ``[..., V] -> [...]``; ``shift`` sums to 0.

    Given both the difference (exact where ``q`` is near ``p``) and ``q`` (exact where it is far
    below), the result is accurate *relative to its own size*, even at 1e-20 nats: the summands
    ``p (d - log(1 + d))`` with ``d = shift / p`` are all >= 0.
    """
    p, shift, q = np.broadcast_arrays(*(np.asarray(a, dtype=np.float64) for a in (p, shift, q)))
    near = np.abs(shift) <= _SMALL * p
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratio = np.where(near & (p > 0), shift / p, 0.0)
        terms = p * x_minus_log1p(ratio)
        far = ~near
        if far.any():
            pf = p[far]
            log_ratio = np.log(q[far]) - np.log(np.where(pf > 0, pf, 1.0))
            terms[far] = shift[far] - np.where(pf > 0, pf * log_ratio, 0.0)
    return np.maximum(terms, 0.0).sum(axis=-1)


def kl(p: ArrayLike, q: ArrayLike) -> Array:
    """``KL(p || q)``, ``[..., V] -> [...]``, in nats; ``inf`` where ``q`` misses mass of ``p``."""
    p, q = np.asarray(p, dtype=np.float64), np.asarray(q, dtype=np.float64)
    return kl_shift(p, q - p, q)


def tv(p: ArrayLike, q: ArrayLike, *, side: str = "upper") -> Array:
    """Total variation ``1/2 |p - q|_1``, ``[..., V] -> [...]``, in [0, 1].

    The mass gained and the mass lost differ by rounding, which matters where ``p`` and ``q`` almost
    agree: ``side`` says which of the two to take, so that a bound errs on its safe side.
    """
    difference = np.asarray(p, dtype=np.float64) - np.asarray(q, dtype=np.float64)
    gained = np.maximum(difference, 0.0).sum(axis=-1)
    lost = np.maximum(-difference, 0.0).sum(axis=-1)
    if side == "lower":
        return np.minimum(gained, lost)
    return np.minimum(np.maximum(gained, lost), 1.0)


def chi_square(p: ArrayLike, q: ArrayLike) -> Array:
    """``chi2(p || q) = sum (p - q)^2 / q``, ``[..., V] -> [...]``; ``inf`` where ``q`` misses."""
    p, q = np.asarray(p, dtype=np.float64), np.asarray(q, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        terms = np.where(p == q, 0.0, (p - q) ** 2 / q)
    return terms.sum(axis=-1)


def mean_ratio(weights: ArrayLike, p: ArrayLike, q: ArrayLike) -> Array:
    """``E_{y ~ weights}[p(y) / q(y)]`` with ``0/0 = 0``, ``[..., V] -> [...]``."""
    weights, p, q = (np.asarray(a, dtype=np.float64) for a in (weights, p, q))
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where((weights > 0) & (p > 0), weights * p / q, 0.0)
    return terms.sum(axis=-1)


def mass_sum(mass: ArrayLike, values: ArrayLike, where: ArrayLike = True) -> Array:
    """``sum_x mass(x) values(x)``, ``[..., X] -> [...]``, where mass 0 times ``inf`` is 0."""
    mass, values = np.asarray(mass, dtype=np.float64), np.asarray(values, dtype=np.float64)
    counts = (mass > 0) & np.asarray(where, dtype=bool)
    with np.errstate(invalid="ignore"):
        return np.where(counts, mass * values, 0.0).sum(axis=-1)
