"""Referral: the score of what is kept when the most uncertain answers go to a person."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from theory.confidence import Interval
from theory.resampling import percentile_interval, resampled_rows

REFERRALS = (0.0, 0.2, 0.4, 0.6, 0.8)
LEVEL, DRAWS = 0.95, 1000


@dataclass(frozen=True)
class Kept:
    """The mean score of the ``n`` answers that are kept when the share ``referred`` is not."""

    referred: float
    n: int
    score: Interval


@dataclass(frozen=True)
class Referral:
    """Risk and coverage of one ordering by uncertainty.

    ``curve`` float64 ``[n]``: the mean score of the 1, 2, ..., n least uncertain answers (risk is
    what is missing to the highest score; coverage k / n). ``auarc`` is its mean, the area under
    the accuracy-rejection curve; ``oracle`` that of the ordering by the scores themselves,
    ``random`` that of no ordering, the mean score; ``gain`` is ``auarc - random``.
    """

    curve: np.ndarray
    kept: tuple[Kept, ...]
    auarc: Interval
    gain: Interval
    oracle: float
    random: float

    def as_json(self) -> dict[str, Any]:
        """All of it but the curve, which has as many numbers as there are answers."""
        return {
            "referral": [
                {
                    "referred": kept.referred,
                    "n": kept.n,
                    "score": kept.score.estimate,
                    "interval": [kept.score.lower, kept.score.upper],
                }
                for kept in self.kept
            ],
            "auarc": self.auarc.estimate,
            "auarc_interval": [self.auarc.lower, self.auarc.upper],
            "gain": self.gain.estimate,
            "gain_interval": [self.gain.lower, self.gain.upper],
            "auarc_oracle": self.oracle,
            "auarc_random": self.random,
        }


def referral(
    uncertainty: ArrayLike,
    scores: ArrayLike,
    *,
    rng: np.random.Generator,
    shares: Sequence[float] = REFERRALS,
    draws: int = DRAWS,
) -> Referral:
    """Refer the most uncertain answers first and score those kept.

    ``uncertainty [n]`` may hold infinity (an answer that is always referred first), ``scores [n]``
    are finite, the higher the better. Answers that are equally uncertain count with their mean
    score, which is the expected curve of a random order among them: nothing depends on the order
    of the rows. Of n answers ``floor(share n)`` are referred. Intervals: percentile bootstrap over
    answers, 95 %, the whole line for a single answer. Raises ValueError for other input.
    """
    u, s = _checked(uncertainty, scores)
    if not shares or any(not 0.0 <= share < 1.0 for share in shares):
        raise ValueError(f"shares referred must lie in [0, 1): {list(shares)}")
    n = len(u)
    # A stable sort by both: the same sums, to the last bit, in whatever order the rows come.
    order = np.lexsort((s, u))
    s, ties = s[order], np.unique(u, return_inverse=True)[1][order]
    curve = _curve(s, ties)
    left = [n - math.floor(share * n + 1e-9) for share in shares]
    found = np.array([*(curve[k - 1] for k in left), curve.mean(), curve.mean() - s.mean()])
    intervals = [Interval(float(value), -np.inf, np.inf) for value in found]
    if n > 1:
        resampled = np.empty((draws, len(found)))
        for row in resampled:
            drawn = np.sort(resampled_rows(n, rng, 1)[0])
            again = _curve(s[drawn], ties[drawn])
            row[:] = (
                *(again[k - 1] for k in left), again.mean(), again.mean() - s[drawn].mean()
            )  # fmt: skip
        intervals = [
            percentile_interval(value, drawn, level=LEVEL)
            for value, drawn in zip(found, resampled.T, strict=True)
        ]
    best = np.sort(s)[::-1]
    return Referral(
        curve=curve,
        kept=tuple(
            Kept(float(share), k, interval)
            for share, k, interval in zip(shares, left, intervals[:-2], strict=True)
        ),
        auarc=intervals[-2],
        gain=intervals[-1],
        oracle=float(_curve(best, np.arange(n)).mean()),
        random=float(s.mean()),
    )


def _curve(scores: np.ndarray, ties: np.ndarray) -> np.ndarray:
    """Means of the first 1, ..., n scores; those with the same number in ``ties`` share a mean.

    ``ties [n]`` ascends.
    """
    starts = np.flatnonzero(np.r_[True, ties[1:] != ties[:-1]])
    sizes = np.diff(np.r_[starts, len(ties)])
    shared = np.repeat(np.add.reduceat(scores, starts) / sizes, sizes)
    return np.cumsum(shared) / np.arange(1, len(scores) + 1)


def _checked(uncertainty: ArrayLike, scores: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    u, s = np.asarray(uncertainty, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    if u.ndim != 1 or u.shape != s.shape or not u.size:
        raise ValueError(f"uncertainties of shape {u.shape} for scores of shape {s.shape}")
    if np.isnan(u).any() or not np.isfinite(s).all():
        raise ValueError("an uncertainty is NaN or a score is not finite")
    return u, s
