"""The divergence of two coins, and its inverse: what a nat buys of an event (T21)."""

from __future__ import annotations

import math
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike

from theory.divergence import Array

_Numbers = TypeVar("_Numbers", float, Array)
_EPS = float(np.finfo(np.float64).eps)
_HALVINGS = 60


def binary_kl(q: float, p: float) -> float:
    """``kl(q || p)`` of two probabilities, nats; infinite where p excludes what q allows."""
    if not (0.0 <= q <= 1.0 and 0.0 <= p <= 1.0):
        raise ValueError(f"probabilities {q} and {p}")
    total = 0.0
    for mine, other in ((q, p), (1.0 - q, 1.0 - p)):
        if mine > 0.0 and other == 0.0:
            return math.inf
        # mine log(mine / other) + other - mine is at least 0, and exact for small shifts.
        shift = other - mine
        if mine == 0.0:
            total += shift
        elif abs(shift) < 0.5 * mine:
            total += shift - mine * math.log1p(shift / mine)
        else:
            total += shift - mine * (math.log(other) - math.log(mine))
    return max(0.0, total)


def binary_kls(q: ArrayLike, p: ArrayLike) -> Array:
    """:func:`binary_kl` of many probabilities at once."""
    q, p = np.asarray(q, dtype=np.float64), np.asarray(p, dtype=np.float64)
    total = np.zeros(np.broadcast_shapes(q.shape, p.shape))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        for mine, other in ((q, p), (1.0 - q, 1.0 - p)):
            shift = other - mine
            near = np.abs(shift) < 0.5 * mine
            rise = np.where(near, np.log1p(shift / mine), np.log(other) - np.log(mine))
            total += np.where(mine > 0.0, shift - mine * rise, shift)
    return np.maximum(total, 0.0)


def kl_lower_inverse(q: float, delta: float) -> float:
    """The smallest p of [0, q] with ``kl(q || p) <= delta``, never above it.

    With q the aligned model's share of safe answers and delta the rise of the loss on its own
    answers (nats per answer), at least this share stays safe (T21). It rises with q and falls with
    delta, so that limits of both may be put in. Raises ValueError for a negative delta and for a
    share outside [0, 1].
    """
    if not delta >= 0.0:
        raise ValueError(f"a divergence of {delta}")
    low, high = 0.0, q  # kl(q || high) <= delta; low is on the safe side
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        if binary_kl(q, middle) <= _with_rounding(q, middle, delta):
            high = middle
        else:
            low = middle
    return low


def kl_lower_inverses(q: ArrayLike, delta: ArrayLike) -> Array:
    """:func:`kl_lower_inverse` of many shares and divergences at once."""
    q, delta = np.broadcast_arrays(
        np.asarray(q, dtype=np.float64), np.asarray(delta, dtype=np.float64)
    )
    if not (delta >= 0.0).all():
        raise ValueError(f"a divergence of {delta[~(delta >= 0.0)][0]}")
    if not ((q >= 0.0) & (q <= 1.0)).all():
        raise ValueError("a share is not in [0, 1]")
    low, high = np.zeros_like(q), q.copy()
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        fits = binary_kls(q, middle) <= _with_rounding(q, middle, delta)
        low, high = np.where(fits, low, middle), np.where(fits, middle, high)
    return low


def _with_rounding(q: _Numbers, p: _Numbers, delta: _Numbers) -> _Numbers:
    """What a divergence of at most delta can come out as."""
    return delta * (1.0 + 8.0 * _EPS) + 8.0 * _EPS * (q - p)


def pinsker_lower(q: float, delta: float) -> float:
    """``max(0, q - sqrt(delta / 2))``: never above :func:`kl_lower_inverse`, and simpler (T21)."""
    if not 0.0 <= q <= 1.0 or not delta >= 0.0:
        raise ValueError(f"a share of {q} or a divergence of {delta}")
    return max(0.0, q - math.sqrt(0.5 * delta))


def teacher_lower(loss: float) -> float:
    """``exp(-loss)``: the share of safe answers of a model with this loss on a teacher's (T21).

    ``loss`` is the mean of ``-log P`` over the first tokens of answers that are all safe, nats per
    answer; these tokens decide whether an answer is safe. Raises ValueError for a negative loss.
    """
    if not loss >= 0.0:
        raise ValueError(f"a loss of {loss}")
    return math.exp(-loss)
