"""The divergence of two coins, and its inverse: what a nat buys of an event (T21)."""

from __future__ import annotations

import math

_HALVINGS = 200


def binary_kl(q: float, p: float) -> float:
    """``kl(q || p)`` of two probabilities, nats; infinite where p excludes what q allows."""
    if not (0.0 <= q <= 1.0 and 0.0 <= p <= 1.0):
        raise ValueError(f"probabilities {q} and {p}")
    total = 0.0
    for mine, other in ((q, p), (1.0 - q, 1.0 - p)):
        if mine > 0.0:
            if other == 0.0:
                return math.inf
            total += mine * math.log(mine / other)
    return max(0.0, total)


def kl_lower_inverse(q: float, delta: float) -> float:
    """The smallest p of [0, q] with ``kl(q || p) <= delta``, never above it.

    With q the aligned model's share of safe answers and delta the rise of the loss on its own
    answers (nats per answer), at least this share stays safe (T21). Raises ValueError for a
    negative delta.
    """
    if not delta >= 0.0:
        raise ValueError(f"a divergence of {delta}")
    low, high = 0.0, q  # kl(q || high) <= delta; low is on the safe side
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        if binary_kl(q, middle) <= delta:
            high = middle
        else:
            low = middle
        if high - low <= 1e-16:
            break
    return low


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
