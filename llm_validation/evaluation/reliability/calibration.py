"""Expected calibration error: how far confidence is from what comes true."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from theory.confidence import Interval
from theory.resampling import percentile_interval, resampled_rows

Binning = Literal["width", "mass"]
BINS = 10
LEVEL, DRAWS = 0.95, 1000


@dataclass(frozen=True)
class Bin:
    """``n`` items of a bin: the range of their confidences, and both means."""

    lowest: float
    highest: float
    n: int
    confidence: float
    score: float


@dataclass(frozen=True)
class Calibration:
    """``error``: the mean over items of ``|mean confidence - mean score|`` of their bin, 0 to 1."""

    binning: Binning
    error: Interval
    bins: tuple[Bin, ...]

    def as_json(self) -> dict[str, Any]:
        return {
            "error": self.error.estimate,
            "interval": [self.error.lower, self.error.upper],
            "n": sum(found.n for found in self.bins),
            "bins": [vars(found) for found in self.bins],
        }


def calibration(
    confidence: ArrayLike,
    scores: ArrayLike,
    *,
    rng: np.random.Generator,
    binning: Binning = "width",
    bins: int = BINS,
    clusters: ArrayLike | None = None,
    draws: int = DRAWS,
) -> Calibration:
    """Expected calibration error of ``confidence [n]`` for ``scores [n]``, both in [0, 1].

    A score is 1 for right and 0 for wrong, or anything between. ``binning``: bins of equal width,
    or of equal mass, by rank; items of the same confidence are always in one bin. Empty bins are
    left out.

    The interval (95 %, percentile bootstrap, widened to hold the estimate) is over items, or over
    whole ``clusters [n]`` such as the answers that tokens belong to. The error of few items in many
    bins is too high on average, and the interval with it. Raises ValueError for other input.
    Source: Guo et al. 2017; equal mass: Nguyen & O'Connor 2015.
    """
    c, s = np.asarray(confidence, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    if c.ndim != 1 or c.shape != s.shape or not c.size:
        raise ValueError(f"confidences of shape {c.shape} for scores of shape {s.shape}")
    if not ((c >= 0.0) & (c <= 1.0)).all() or not ((s >= 0.0) & (s <= 1.0)).all():
        raise ValueError("a confidence or a score lies outside [0, 1]")
    if bins < 1:
        raise ValueError(f"{bins} bins")
    order = np.lexsort((s, c))
    c, s = c[order], s[order]
    groups = (
        np.arange(len(c))
        if clusters is None
        else np.unique(np.asarray(clusters)[order], return_inverse=True)[1]
    )
    place = _places(c, np.ones(len(c)), binning, bins)
    found = float(_errors(c, s, place, np.ones(len(c)), bins))
    error = Interval(found, 0.0, 1.0)
    number = int(groups.max()) + 1
    if number > 1:
        errors = np.empty(draws)
        for draw in range(draws):
            (drawn,) = resampled_rows(number, rng, 1)
            times = np.bincount(drawn, minlength=number)[groups]
            weights = times.astype(np.float64)
            again = place if binning == "width" else _places(c, weights, binning, bins)
            errors[draw] = _errors(c, s, again, weights, bins)
        error = percentile_interval(found, errors, level=LEVEL, hold=True)
    return Calibration(
        binning,
        error,
        tuple(
            Bin(
                float(c[inside].min()),
                float(c[inside].max()),
                int(inside.sum()),
                float(c[inside].mean()),
                float(s[inside].mean()),
            )
            for inside in (place == number for number in np.unique(place))
        ),
    )


def _places(c: np.ndarray, weights: np.ndarray, binning: Binning, bins: int) -> np.ndarray:
    """The bin of every item of the ascending ``c [n]``, each there ``weights [n]`` times."""
    if binning == "width":
        return np.minimum((c * bins).astype(np.int64), bins - 1)
    # The mean rank of all items of the same confidence, so that no bin's border runs through them.
    starts = np.flatnonzero(np.r_[True, c[1:] != c[:-1]])
    sizes = np.diff(np.r_[starts, len(c)])
    mass = np.add.reduceat(weights, starts)
    middle = np.cumsum(mass) - 0.5 * mass
    share = np.repeat(middle / mass.sum(), sizes)
    return np.minimum((share * bins).astype(np.int64), bins - 1)


def _errors(
    c: np.ndarray, s: np.ndarray, place: np.ndarray, weights: np.ndarray, bins: int
) -> float:
    """``sum_b |sum over b of (confidence - score)| / n``."""
    gaps = np.bincount(place, weights=weights * (c - s), minlength=bins)
    return np.abs(gaps).sum() / weights.sum()
