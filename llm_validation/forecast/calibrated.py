"""Forecasts calibrated on finished fine-tunes: what to expect, and how sure that is (T25)."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from theory.conformal import conformal_quantile, jackknife_limits

PRIOR = 1.0
"""Weight of "the forecast is right as it stands", in groups of fine-tunes of one unit of change."""


@dataclass(frozen=True)
class Finished:
    """What was forecast of a fine-tune before it was run, and what it then changed, in one unit.

    ``group`` names its pair of datasets. ``scale`` is what the forecaster itself says of its error.
    """

    group: Hashable
    said: float
    did: float
    scale: float = 1.0


@dataclass(frozen=True)
class Calibration:
    """``slope`` times the forecast change, and by how many scales that may be wrong.

    ``quantile`` is of the errors of ``fine_tunes`` of so many ``groups``, infinite for too few of
    these. Of each fine-tune ``left_out`` has the group, the slope of the other groups, and its
    error by that slope.
    """

    level: float
    slope: float
    quantile: float
    groups: int
    fine_tunes: int
    left_out: tuple[tuple[Hashable, float, float], ...] = ()

    def change(self, said: float) -> float:
        """The change to expect."""
        return self.slope * said

    def interval(
        self, said: float, *, scale: float = 1.0, widened: float = 1.0
    ) -> tuple[float, float]:
        """That holds the change of a fine-tune which is exchangeable with these.

        Its jackknife+ limits: a probability of ``level`` as a rule, of ``2 level - 1`` proved. All
        errors are ``widened``.
        """
        change, half = self.change(said), widened * scale
        if not self.left_out:
            return change - half * self.quantile, change + half * self.quantile
        groups, slopes, errors = zip(*self.left_out, strict=True)
        low, high = jackknife_limits(
            said * np.array(slopes), half * np.array(errors), self.level, groups=groups
        )
        return min(change, float(low)), max(change, float(high))


def calibrate(finished: Sequence[Finished], level: float = 0.9) -> Calibration:
    """A slope by weighted least squares, and the conformal limits of what it leaves.

    Every group has the same weight, and ``PRIOR`` draws the slope towards 1. A fine-tune's error is
    by the slope of the other groups. No change is forecast as none, whatever the slope. Source:
    T25. Raises ValueError without any fine-tune.
    """
    if not finished:
        raise ValueError("no fine-tune is finished.")
    groups = [one.group for one in finished]
    slopes = {name: _slope([one for one in finished if one.group != name]) for name in set(groups)}
    errors = [abs(one.did - slopes[one.group] * one.said) / one.scale for one in finished]
    left = tuple(zip(groups, (slopes[name] for name in groups), errors, strict=True))
    quantile = conformal_quantile(errors, level, groups=groups)
    return Calibration(level, _slope(finished), quantile, len(slopes), len(finished), left)


def left_out(finished: Sequence[Finished], level: float = 0.9) -> list[Calibration | None]:
    """Each fine-tune's calibration by the fine-tunes of other groups, None where there is none."""
    found: dict[Hashable, Calibration | None] = {}
    for name in dict.fromkeys(one.group for one in finished):
        others = [one for one in finished if one.group != name]
        found[name] = calibrate(others, level) if others else None
    return [found[one.group] for one in finished]


def _slope(finished: Sequence[Finished]) -> float:
    groups = [one.group for one in finished]
    weights = np.array([1.0 / groups.count(one.group) / one.scale**2 for one in finished])
    said = np.array([one.said for one in finished])
    did = np.array([one.did for one in finished])
    return float((weights @ (said * did) + PRIOR) / (weights @ (said * said) + PRIOR))


@dataclass(frozen=True)
class Refusals:
    """The share of refusals of ``n`` probes before a fine-tune; changes are of its log odds."""

    before: float
    n: int

    def change_to(self, after: float) -> float:
        """Of the log odds, up to a share after the fine-tune."""
        return _log_odds(after, self.n) - _log_odds(self.before, self.n)

    def after(self, change: float) -> float:
        """The share, after its log odds have changed; in [0, 1]."""
        odds = _log_odds(self.before, self.n) + change
        with np.errstate(over="ignore"):
            share = ((self.n + 1.0) / (1.0 + np.exp(-odds)) - 0.5) / self.n
        return float(min(1.0, max(0.0, share)))


def _log_odds(share: float, n: int) -> float:
    """Of a share of ``n`` probes, with half a probe on either side so that it stays finite."""
    return float(np.log((share * n + 0.5) / ((1.0 - share) * n + 0.5)))
