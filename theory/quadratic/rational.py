"""One small quadratic problem in exact arithmetic: every float is a whole number times 2^k.

Nothing is rounded, so no rank, no null space and no gap depends on a tolerance. Elimination is
free of fractions (Bareiss 1968), of order ``n^3`` operations on whole numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import SupportsInt

import numpy as np

from theory.divergence import Array
from theory.problem import QuadraticProblem
from theory.quadratic.enclosure import nearest

# Coordinates up to which exact arithmetic takes milliseconds.
LARGEST = 16

Whole = np.ndarray  # of Python's whole numbers, dtype object


@dataclass(frozen=True, eq=False)
class Dyadic:
    """``numbers * 2^exponent``: an array of floats, exactly."""

    numbers: Whole
    exponent: int

    @classmethod
    def of(cls, values: Array) -> Dyadic:
        values = np.asarray(values, dtype=np.float64)
        mantissas, exponents = np.frexp(values)
        used = exponents[values != 0]
        least = int(used.min()) - 53 if used.size else 0
        numbers = np.empty(values.shape, dtype=object)
        for index in np.ndindex(values.shape):
            if values[index] == 0:
                numbers[index] = 0
            else:
                whole = int(mantissas[index] * 2.0**53)
                numbers[index] = whole << (int(exponents[index]) - 53 - least)
        return cls(numbers, least)

    def at(self, exponent: int) -> Whole:
        """The numbers in units of ``2^exponent``, which is at most the own one."""
        return self.numbers * (1 << (self.exponent - exponent))

    def plus(self, other: Dyadic) -> Dyadic:
        least = min(self.exponent, other.exponent)
        return Dyadic(self.at(least) + other.at(least), least)

    def times(self, other: Dyadic) -> Dyadic:
        """The matrix product, or by a scalar the multiple."""
        if other.numbers.ndim == 0:
            return Dyadic(self.numbers * other.numbers[()], self.exponent + other.exponent)
        return Dyadic(self.numbers @ other.numbers, self.exponent + other.exponent)


def dyadic(number: Fraction) -> Dyadic:
    """A number whose denominator is a power of two. Raises ValueError otherwise."""
    exponent = number.denominator.bit_length() - 1
    if number.denominator != 1 << exponent:
        raise ValueError(f"{number} is no dyadic number.")
    return Dyadic(np.array(number.numerator, dtype=object), -exponent)


class NotPSDError(ValueError):
    """The matrix is not exactly positive semi-definite."""


@dataclass(frozen=True, eq=False)
class Eliminated:
    """``matrix x = right`` as ``x = numbers / divisor``; ``null [n, k]`` spans the kernel."""

    numbers: Whole
    divisor: int
    null: Whole


def eliminate(matrix: Whole, right: Whole) -> Eliminated:
    """Fraction-free Gauss-Jordan of a PSD ``matrix [n, n]``; ``right [n]`` lies in its range.

    Coordinates without a pivot are 0 in the solution. Raises NotPSDError.
    """
    n = len(matrix)
    rows = np.concatenate([matrix, right[:, None]], axis=1)
    before, pivots, left = 1, [], list(range(n))
    while left:
        j = max(left, key=lambda i: rows[i, i])
        pivot = rows[j, j]
        if pivot <= 0:
            break
        own, column = rows[j].copy(), rows[:, j].copy()
        rows = (pivot * rows - np.multiply.outer(column, own)) // before
        rows[j] = own
        before = pivot
        left.remove(j)
        pivots.append(j)
    if left and rows[np.ix_(left, left)].any():
        raise NotPSDError("the matrix is not exactly positive semi-definite.")
    numbers = np.zeros(n, dtype=object)
    numbers[pivots] = rows[pivots, n]
    null = np.zeros((n, len(left)), dtype=object)
    for k, j in enumerate(left):
        null[j, k] = before
        null[pivots, k] = -rows[pivots, j]
    return Eliminated(numbers, before, null)


@dataclass(frozen=True, eq=False)
class Point:
    """``theta - theta_s`` and ``theta - theta_f`` as ``numbers 2^exponent / divisor``."""

    step: Whole
    missing: Whole
    exponent: int
    divisor: int

    def floats(self) -> Array:
        """The step, rounded, ``[n]``."""
        return np.array([nearest(self._entry(v)) for v in self.step])

    def squared(self) -> Fraction:
        """``|theta - theta_s|^2``."""
        return _scaled(self.step @ self.step, 2 * self.exponent, self.divisor**2)

    def squared_distance(self, other: Point) -> Fraction:
        """``|theta - theta'|^2``."""
        least = min(self.exponent, other.exponent)
        first = self.step * (other.divisor << (self.exponent - least))
        second = other.step * (self.divisor << (other.exponent - least))
        apart = first - second
        return _scaled(apart @ apart, 2 * least, (self.divisor * other.divisor) ** 2)

    def _entry(self, number: int) -> Fraction:
        return _scaled(number, self.exponent, self.divisor)


def _scaled(number: SupportsInt, exponent: int, divisor: int) -> Fraction:
    if exponent >= 0:
        return Fraction(int(number) << exponent, divisor)
    return Fraction(int(number), divisor << -exponent)


class Rational:
    """A quadratic problem of one instance, exactly. Raises NotPSDError where a Hessian is not."""

    def __init__(self, problem: QuadraticProblem) -> None:
        self.safety, self.task = Dyadic.of(problem.H_s), Dyadic.of(problem.H_f)
        start = Dyadic.of(problem.theta_s)
        self.displacement = Dyadic.of(problem.theta_f).plus(Dyadic(-start.numbers, start.exponent))
        zero = np.zeros(len(start.numbers), dtype=object)
        self._null_safety = eliminate(self.safety.numbers, zero).null
        self._null_task = eliminate(self.task.numbers, zero).null

    @cached_property
    def pull(self) -> Dyadic:
        """``H_f d``."""
        return self.task.times(self.displacement)

    @cached_property
    def start(self) -> Fraction:
        """``G_f(theta_s)``."""
        d = self.displacement
        return _scaled(d.numbers @ self.pull.numbers, d.exponent + self.pull.exponent - 1, 1)

    @cached_property
    def squared_slope(self) -> Fraction:
        """``|grad f_f(theta_s)|^2``."""
        return _scaled(self.pull.numbers @ self.pull.numbers, 2 * self.pull.exponent, 1)

    @cached_property
    def orthogonal(self) -> bool:
        """Whether ``H_s H_f = 0``."""
        return not (self.safety.numbers @ self.task.numbers).any()

    @property
    def task_is_flat(self) -> bool:
        """Whether ``f_f`` has more than one minimiser."""
        return self._null_task.shape[1] > 0

    @cached_property
    def safety_free(self) -> bool:
        """Whether all minimisers of ``f_f`` have the same safety gap."""
        return not (self.safety.numbers @ self._null_task).any()

    @cached_property
    def null_task(self) -> Array:
        """An orthonormal basis of the kernel of ``H_f``, ``[n, k]``, rounded."""
        scale = [max(map(abs, column)) for column in self._null_task.T]
        floats = [[v / s for v in c] for c, s in zip(self._null_task.T, scale, strict=True)]
        return np.linalg.qr(np.array(floats).T)[0]

    def gaps(self, point: Point) -> tuple[Fraction, Fraction]:
        """``G_s`` and ``G_f`` there."""
        return (
            self._half_form(self.safety, point.step, point),
            self._half_form(self.task, point.missing, point),
        )

    def _half_form(self, matrix: Dyadic, vector: Whole, point: Point) -> Fraction:
        number = vector @ matrix.numbers @ vector
        return _scaled(number, matrix.exponent + 2 * point.exponent - 1, point.divisor**2)

    def penalised(
        self, lam: Fraction, nu: Fraction = Fraction(0), *, shortest: bool = False
    ) -> Point:
        """Where ``(H_f + lam H_s + nu I) step = H_f d``; the one of least norm if asked."""
        matrix = self.task
        if lam:
            matrix = matrix.plus(self.safety.times(dyadic(lam)))
        if nu:
            shift = dyadic(nu)
            eye = np.zeros(matrix.numbers.shape, dtype=object)
            np.fill_diagonal(eye, shift.numbers[()])
            matrix = matrix.plus(Dyadic(eye, shift.exponent))
        found = eliminate(matrix.numbers, self.pull.numbers)
        step, divisor = found.numbers, found.divisor
        exponent = self.pull.exponent - matrix.exponent
        if shortest and found.null.shape[1]:
            inside = eliminate(found.null.T @ found.null, found.null.T @ step)
            step = step * inside.divisor - found.null @ inside.numbers
            divisor *= inside.divisor
        return self._point(step, exponent, divisor)

    def _point(self, step: Whole, exponent: int, divisor: int) -> Point:
        d = self.displacement
        least = min(exponent, d.exponent)
        step = step * (1 << (exponent - least))
        missing = step - d.numbers * ((1 << (d.exponent - least)) * divisor)
        return Point(step, missing, least, divisor)

    @cached_property
    def proxy_optimum(self) -> Point:
        """The minimiser of ``f_s`` with the least task loss: ``lam`` to infinity."""
        null, d = self._null_safety, self.displacement
        # step = N y with (N' H_f N) y = N' H_f d.
        found = eliminate(null.T @ self.task.numbers @ null, null.T @ self.task.numbers @ d.numbers)
        return self._point(null @ found.numbers, d.exponent, found.divisor)

    @cached_property
    def task_optimum(self) -> Point:
        """The minimiser of ``f_f`` with the least safety loss: ``lam`` to 0."""
        null, d = self._null_task, self.displacement
        # step = d - N y with (N' H_s N) y = N' H_s d.
        pulled = null.T @ self.safety.numbers
        found = eliminate(pulled @ null, pulled @ d.numbers)
        step = d.numbers * found.divisor - null @ found.numbers
        return self._point(step, d.exponent, found.divisor)


def bracket(
    ratio: Callable[[Fraction], Fraction], guess: float, *, bits: int = 66
) -> tuple[Fraction, Fraction]:
    """``low < high``, within about ``2^-bits`` of each other, with ``ratio`` > 1 and <= 1 there.

    ``ratio`` falls; its logarithm falls at most twice as fast as the argument's rises. ``guess``
    is the logarithm of the argument, base 2. Regula falsi (Illinois) in logarithms.
    """

    def height(log: float) -> float:
        found = ratio(_power(log))
        if found <= 0:
            return -1e9
        return log2(found)

    low, high, step = guess, guess, 2.0**-20
    at_low = at_high = height(guess)
    while at_low <= 0:
        low, step = low - step, 16.0 * step
        at_low = height(low)
    step = 2.0**-20
    while at_high > 0:
        high, step = high + step, 16.0 * step
        at_high = height(high)
    side = 0
    weight_low, weight_high = at_low, at_high
    while high - low > 2.0**-24:
        middle = low + (high - low) * weight_low / (weight_low - weight_high)
        margin = 0.01 * (high - low)
        middle = min(max(middle, low + margin), high - margin)
        at_middle = height(middle)
        if at_middle > 0:
            low, weight_low = middle, at_middle
            weight_high *= 0.5 if side == 1 else 1.0
            side = 1
        else:
            high, weight_high = middle, at_middle
            weight_low *= 0.5 if side == -1 else 1.0
            side = -1
    return _polish(ratio, _power(low), _power(high), bits)


def _polish(
    ratio: Callable[[Fraction], Fraction], low: Fraction, high: Fraction, bits: int
) -> tuple[Fraction, Fraction]:
    """Secants in exact numbers: each doubles the digits, and both ends are checked."""
    at_low, at_high = ratio(low), ratio(high)
    for _ in range(8):
        width = (high - low) / high
        if width <= Fraction(1, 1 << bits) or at_low == at_high:
            break
        root = low + (high - low) * (at_low - 1) / (at_low - at_high)
        margin = (high - low) * max(width, Fraction(1, 1 << bits))
        for moved in (_shorten(root - margin, bits), _shorten(root + margin, bits)):
            if low < moved < high:
                found = ratio(moved)
                if found > 1:
                    low, at_low = moved, found
                else:
                    high, at_high = moved, found
    return low, high


def _shorten(number: Fraction, bits: int) -> Fraction:
    """A dyadic number within ``2^-(bits + 8)`` of it, relatively."""
    shift = bits + 8 - (number.numerator.bit_length() - number.denominator.bit_length())
    if shift >= 0:
        return Fraction((number.numerator << shift) // number.denominator, 1 << shift)
    return Fraction((number.numerator // (number.denominator << -shift)) << -shift)


def _power(log: float) -> Fraction:
    """``2^log``, with some 40 bits."""
    whole = int(np.floor(log))
    digits = int(2.0 ** (log - whole) * 2.0**40)
    shift = whole - 40
    return Fraction(digits << shift) if shift >= 0 else Fraction(digits, 1 << -shift)


def log2(number: Fraction) -> float:
    """Of ``number > 0``, accurate also near 1 and beyond the range of floats."""
    if abs(number - 1) < Fraction(1, 8):
        return math.log1p(float(number - 1)) / math.log(2.0)
    return math.log2(number.numerator) - math.log2(number.denominator)
