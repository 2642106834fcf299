"""Refusals that are calibrated on finished fine-tunes: what to expect, and how sure it is (T25)."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from theory.conformal import conformal_quantile

PRIOR = 1.0
"""Weight of "the forecast is right as it stands", in groups of fine-tunes of one log odds."""


@dataclass(frozen=True)
class Forecast:
    """Shares of refusals of ``n`` probes before a fine-tune, and forecast after it."""

    before: float
    after: float
    n: int

    @property
    def change(self) -> float:
        """Of the log odds."""
        return log_odds(self.after, self.n) - log_odds(self.before, self.n)


@dataclass(frozen=True)
class Finished:
    """A forecast, and the share that was measured after the fine-tune.

    ``group`` names the fine-tune's pair of datasets.
    """

    group: Hashable
    forecast: Forecast
    measured: float

    @property
    def change(self) -> float:
        """What was measured, as a change of the log odds."""
        of = self.forecast
        return log_odds(self.measured, of.n) - log_odds(of.before, of.n)


@dataclass(frozen=True)
class Calibration:
    """Of the log odds of refusals: ``slope`` times the forecast change, and how far off that is.

    ``quantile`` holds a new fine-tune's error with probability ``level``, given that it is
    exchangeable with the ``fine_tunes`` of ``groups`` pairs; infinite for too few pairs.
    """

    level: float
    slope: float
    quantile: float
    groups: int
    fine_tunes: int

    def share(self, forecast: Forecast) -> float:
        """The share of refusals to expect."""
        return _moved(forecast, self.slope * forecast.change)

    def interval(self, forecast: Forecast, *, widened: float = 1.0) -> tuple[float, float]:
        """That holds the share; ``widened`` times as wide, in log odds."""
        middle, half = self.slope * forecast.change, widened * self.quantile
        return _moved(forecast, middle - half), _moved(forecast, middle + half)


def log_odds(share: float, n: int) -> float:
    """Of a share of ``n`` probes, with half a probe on either side so that it stays finite."""
    return float(np.log((share * n + 0.5) / ((1.0 - share) * n + 0.5)))


def _moved(forecast: Forecast, change: float) -> float:
    """The share before, moved by ``change`` of its log odds, in [0, 1]."""
    n, odds = forecast.n, log_odds(forecast.before, forecast.n) + change
    with np.errstate(over="ignore"):
        return float(min(1.0, max(0.0, ((n + 1.0) / (1.0 + np.exp(-odds)) - 0.5) / n)))


def calibrate(finished: Sequence[Finished], level: float = 0.9) -> Calibration:
    """A slope by weighted least squares, and the conformal quantile of what it leaves.

    Every group has the same weight, and ``PRIOR`` draws the slope towards 1. A fine-tune's error is
    by the slope of the other groups. No change is forecast as none, whatever the slope. Source:
    T25. Raises ValueError without any fine-tune.
    """
    if not finished:
        raise ValueError("no fine-tune is finished.")
    groups = [one.group for one in finished]
    errors = [
        abs(
            one.change - _slope([o for o in finished if o.group != one.group]) * one.forecast.change
        )
        for one in finished
    ]
    quantile = conformal_quantile(errors, level, groups=groups)
    return Calibration(level, _slope(finished), quantile, len(set(groups)), len(finished))


def left_out(finished: Sequence[Finished], level: float = 0.9) -> list[Calibration | None]:
    """Each fine-tune's calibration by the fine-tunes of other groups, None where there is none."""
    found: dict[Hashable, Calibration | None] = {}
    for name in dict.fromkeys(one.group for one in finished):
        others = [one for one in finished if one.group != name]
        found[name] = calibrate(others, level) if others else None
    return [found[one.group] for one in finished]


def _slope(finished: Sequence[Finished]) -> float:
    groups = [one.group for one in finished]
    weights = np.array([1.0 / groups.count(group) for group in groups])
    x = np.array([one.forecast.change for one in finished])
    y = np.array([one.change for one in finished])
    return float((weights @ (x * y) + PRIOR) / (weights @ (x * x) + PRIOR))
