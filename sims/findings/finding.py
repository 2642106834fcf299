"""What a finding is: a claimed range for an effect, and the effect's interval in toy runs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from theory.confidence import clopper_pearson

# Each interval misses the mean over all instances with at most this probability.
LEVEL = 1.0 - 1e-6


@dataclass(frozen=True)
class SimulatedFinding:
    """One claim about the mean of an effect over random instances, and what ``n`` of them say.

    ``interval`` holds that mean except with probability ``1 - level``. ``claimed`` is the range
    that the statement puts it in. So a false statement is ``confirmed``, and a true one
    ``refuted``, with probability at most ``1 - level``; in between the instances were too few.
    Intervals of means are Student's and assume effects whose mean is close to normal at ``n``;
    those of shares are Clopper and Pearson's and exact.
    """

    name: str
    statement: str
    effect: float
    interval: tuple[float, float]
    claimed: tuple[float, float]
    level: float
    n: int

    @property
    def confirmed(self) -> bool:
        """The whole interval lies in the claimed range."""
        return self.claimed[0] <= self.interval[0] and self.interval[1] <= self.claimed[1]

    @property
    def refuted(self) -> bool:
        """The interval lies outside the claimed range."""
        return self.interval[1] < self.claimed[0] or self.claimed[1] < self.interval[0]

    def __str__(self) -> str:
        verdict = "confirmed" if self.confirmed else "refuted" if self.refuted else "undecided"
        low, high = self.interval
        return (
            f"{self.name}: {verdict}, {self.effect:.4g} in [{low:.4g}, {high:.4g}] "
            f"(claimed [{self.claimed[0]:g}, {self.claimed[1]:g}], n = {self.n})"
        )


def of_mean(
    name: str,
    statement: str,
    effects: ArrayLike,
    claimed: tuple[float, float],
    *,
    level: float = LEVEL,
) -> SimulatedFinding:
    """A finding about the mean of ``effects [n]``, one an independent instance.

    Raises ValueError for fewer than 2 of them, or one that is not finite.
    """
    effects = np.asarray(effects, dtype=np.float64)
    mean, (low, high) = mean_interval(effects, level=level)
    return SimulatedFinding(name, statement, mean, (low, high), claimed, level, effects.size)


def mean_interval(effects: ArrayLike, *, level: float) -> tuple[float, tuple[float, float]]:
    """Mean of ``effects [n]`` and its two-sided t interval. Raises ValueError as above."""
    effects = np.asarray(effects, dtype=np.float64)
    if effects.ndim != 1 or effects.size < 2 or not np.isfinite(effects).all():
        raise ValueError("a t interval needs 2 finite effects or more.")
    error = effects.std(ddof=1) / np.sqrt(effects.size)
    half = float(stats.t.ppf(0.5 + level / 2.0, effects.size - 1) * error)
    mean = float(effects.mean())
    return mean, (mean - half, mean + half)


def columns(effects: ArrayLike, *, level: float = 0.95) -> dict[str, list[float]]:
    """``effects [n, m]`` as means over the instances and their t intervals, for a record."""
    found = [mean_interval(column, level=level) for column in np.asarray(effects).T]
    return {
        "mean": [mean for mean, _ in found],
        "low": [low for _, (low, _) in found],
        "high": [high for _, (_, high) in found],
    }


def of_share(
    name: str,
    statement: str,
    holds: ArrayLike,
    claimed: tuple[float, float],
    *,
    level: float = LEVEL,
) -> SimulatedFinding:
    """A finding about the share of instances at which ``holds [n]`` is true."""
    holds = np.asarray(holds, dtype=bool)
    share = clopper_pearson(int(holds.sum()), holds.size, p=1.0 - level)
    interval = (share.lower, share.upper)
    return SimulatedFinding(name, statement, share.estimate, interval, claimed, level, holds.size)


def slopes(x: ArrayLike, y: ArrayLike) -> np.ndarray:
    """Least-squares exponents of ``y [n, m]`` in ``x [m]``, one an instance, ``[n]``.

    Raises ValueError unless all are positive.
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if not ((x > 0).all() and (y > 0).all()):
        raise ValueError("an exponent needs positive measurements.")
    centred = np.log(x) - np.log(x).mean()
    return (np.log(y) * centred).sum(axis=-1) / (centred**2).sum()
