"""The safe answers of any fine-tune, from forward passes on stored answers alone (T22)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from theory.certificates.betting import mean_upper_limit
from theory.divergence import Array


def clipped_rate(log_weights: ArrayLike, events: ArrayLike, clip: float) -> float:
    """Mean of ``min(w, clip) a``: an estimate that is at most the model's rate of the event.

    ``log_weights [n]``: log P(y) - log P_s(y) of answers y that P_s wrote, in nats, of the tokens
    that decide the event; -inf where P excludes the answer. ``events [n]``: a = 1 (or True) where
    it happened. Its expectation is E_P_s[min(w, clip) a] <= P(event). Raises ValueError for a clip
    that is not positive, NaN, infinite weights, and events other than 0 and 1. Source: T22 of
    docs/theorems.md.
    """
    return float(_clipped(log_weights, events, clip).mean())


def clipped_rate_lower(
    log_weights: ArrayLike, events: ArrayLike, clip: float, confidence: float
) -> float:
    """Lower confidence limit, in [0, 1], for the model's rate of the event.

    It is above the rate with probability at most ``1 - confidence``, if the prompts are
    independent draws, the model was not trained on the stored answers, and ``clip`` was fixed
    without looking at them. Betting (T23) on ``min(w, clip) a`` in [0, clip]. Arguments and errors
    as in :func:`clipped_rate`.
    """
    share = _clipped(log_weights, events, clip) / clip
    # Losses 1 - 2 share in [-1, 1]: their upper limit is the lower limit of the share.
    upper = mean_upper_limit(1.0 - 2.0 * np.minimum(share, 1.0), confidence)
    return float(min(1.0, 0.5 * (1.0 - upper) * clip))


def effective_sample_size(log_weights: ArrayLike) -> float:
    """``(sum w)^2 / sum w^2``: as many answers of the model itself would say as much.

    0 where every weight is 0. Where it is small, :func:`clipped_rate_lower` is low, never wrong.
    """
    logs = _log_weights(log_weights)
    largest = logs.max()
    if largest == -np.inf:
        return 0.0
    weights = np.exp(logs - largest)
    return float(weights.sum() ** 2 / (weights**2).sum())


def _clipped(log_weights: ArrayLike, events: ArrayLike, clip: float) -> Array:
    if not 0.0 < clip < np.inf:
        raise ValueError(f"the clip {clip} is not a positive number.")
    logs, happened = _log_weights(log_weights), np.asarray(events, dtype=np.float64)
    if happened.shape != logs.shape:
        raise ValueError(f"{logs.size} weights for events of shape {happened.shape}.")
    if not np.isin(happened, (0.0, 1.0)).all():
        raise ValueError("an event is 0 or 1.")
    return np.minimum(np.exp(np.minimum(logs, np.log(clip))), clip) * happened


def _log_weights(log_weights: ArrayLike) -> Array:
    logs = np.asarray(log_weights, dtype=np.float64)
    if logs.ndim != 1 or logs.size == 0:
        raise ValueError(f"the weights have shape {logs.shape}: [n] with n >= 1 is needed.")
    wrong = np.isnan(logs) | (logs == np.inf)
    if wrong.any():
        raise ValueError(f"the log weight of row {np.argmax(wrong) + 1} is NaN or infinite.")
    return logs
