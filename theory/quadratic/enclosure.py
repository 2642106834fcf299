"""A number between two others: what rounding and ill conditioning leave certain."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from theory.divergence import Array

# Relative error that leaves two digits.
_DIGITS = 5e-3
# Nats below which nothing needs digits.
_NOTHING = 1e-300


@dataclass(frozen=True, eq=False)
class Enclosure:
    """``lower <= truth <= upper``, ``[...]`` over the batch; ``value`` is the best guess inside."""

    value: Array
    lower: Array
    upper: Array

    @classmethod
    def around(cls, value: Array | float, lower: Array | float, upper: Array | float) -> Enclosure:
        """The value moved inside; ``[0, inf]`` where the limits are undefined."""
        lower = np.where(np.isnan(lower), 0.0, np.maximum(lower, 0.0))
        upper = np.where(np.isnan(upper), np.inf, np.maximum(upper, lower))
        return cls(np.minimum(np.maximum(value, lower), upper), lower, upper)

    @classmethod
    def exactly(cls, value: Array) -> Enclosure:
        """A value that is known."""
        return cls(value, value, value)

    @classmethod
    def of_fractions(cls, lower: Fraction, upper: Fraction | None = None) -> Enclosure:
        """The nearest floats outside two exact numbers >= 0, which are one by default."""
        upper = lower if upper is None else upper
        return cls(*map(np.asarray, (nearest(lower), below(lower), above(upper))))

    @property
    def error(self) -> Array:
        """How far ``value`` can be from the truth, ``[...]``."""
        with np.errstate(invalid="ignore"):
            error = np.maximum(self.upper - self.value, self.value - self.lower)
        return np.where(np.isnan(error), np.inf, error)

    @property
    def resolved(self) -> np.ndarray:
        """Whether about two digits of ``value`` hold, ``[...]`` bool."""
        return self.error <= np.maximum(_DIGITS * self.value, _NOTHING)

    def in_words(self) -> str:
        """Why a value that is not resolved is none, with the limits of a single one."""
        told = "not resolved in double precision"
        if np.ndim(self.value):
            return told
        return f"{told}: between {float(self.lower):.6g} and {float(self.upper):.6g}"


@dataclass(frozen=True, eq=False)
class Gaps:
    """A quadratic minimiser: ``step [..., n]`` from theta_s, its gaps in nats, its multiplier.

    ``safety_range`` holds the safety gap of *every* minimiser; it is ``safety`` where all agree.
    ``which`` says which minimiser the gaps belong to where they do not.
    """

    step: Array
    safety: Enclosure
    capability: Enclosure
    lam: Enclosure
    safety_range: Enclosure
    which: str = ""


def nearest(number: Fraction) -> float:
    """The nearest float; infinity beyond the largest."""
    try:
        return float(number)
    except OverflowError:
        return math.inf


def below(number: Fraction) -> float:
    """The largest float that is not above ``number >= 0``."""
    found = nearest(number)
    if found == math.inf:
        return float(np.finfo(float).max)
    return found if Fraction(found) <= number else max(math.nextafter(found, -math.inf), 0.0)


def above(number: Fraction) -> float:
    """The least float that is not below ``number >= 0``."""
    found = nearest(number)
    return (
        found if found == math.inf or Fraction(found) >= number else math.nextafter(found, math.inf)
    )
