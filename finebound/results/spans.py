"""Estimates with their intervals, in the two ways that records hold them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean
from typing import Self

from finebound.results.interval import Interval
from finebound.results.result import Known, Number, Part


class Span(Part):
    """An estimate and the ends of its interval; an estimate that is not known is None."""

    estimate: Known
    interval: tuple[Number, Number]

    @classmethod
    def from_interval(cls, found: Interval) -> Self:
        """The same numbers as a part of a record."""
        return cls(estimate=found.estimate, interval=(found.lower, found.upper))

    @classmethod
    def mean(cls, spans: Sequence[Span]) -> Span:
        """The mean of estimates and ends; right where all err together, too wide otherwise."""
        low, high = (fmean(span.interval[side] for span in spans) for side in (0, 1))
        return Span(estimate=fmean(span.value for span in spans), interval=(low, high))

    @property
    def value(self) -> float:
        """The estimate, NaN where it is not known."""
        return math.nan if self.estimate is None else self.estimate

    @property
    def lower(self) -> float:
        return self.interval[0]

    @property
    def upper(self) -> float:
        return self.interval[1]

    @property
    def is_apart_from_zero(self) -> bool:
        return self.lower > 0.0 or self.upper < 0.0

    def overlaps(self, other: Span) -> bool:
        return self.lower <= other.upper and other.lower <= self.upper

    def as_interval(self, scale: float = 1.0) -> Interval:
        """For a cell of a table; a negative ``scale`` turns the ends round."""
        low, high = sorted(scale * end for end in self.interval)
        return Interval(scale * self.value, low, high)

    def told(self, *, scale: float = 1.0, digits: int = 3) -> str:
        """With a sign: ``+0.1 [-0.02, +0.3]``."""
        low, high = (f"{scale * end:+.{digits}g}" for end in self.interval)
        return f"{scale * self.value:+.{digits}g} [{low}, {high}]"


class Limits(Part):
    """An interval and how often it fails; None for one that holds only asymptotically."""

    estimate: Known
    lower: Number
    upper: Number
    failure_probability: Number | None

    @classmethod
    def from_interval(cls, found: Interval) -> Self:
        """The same numbers as a part of a record."""
        return cls.model_validate(vars(found))
