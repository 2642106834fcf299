"""Minimisers and gaps of one small problem in exact arithmetic, rounded outwards at the end."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import numpy as np
from scipy.optimize import OptimizeResult, minimize_scalar

from theory.divergence import Array
from theory.problem import QuadraticProblem
from theory.quadratic import floating
from theory.quadratic.enclosure import Enclosure, Gaps, below
from theory.quadratic.rational import Point, Rational, bracket

_ZERO = Fraction(0)
# More than the rounding of a square root and a few products.
_ROUNDING = 2.0**-50


def root(square: Fraction) -> Enclosure:
    """The square root of an exact number, with a few units in the last place."""
    if square == 0:
        return Enclosure.of_fractions(_ZERO)
    # An even shift keeps tiny and huge squares within the range of floats.
    shift = (square.numerator.bit_length() - square.denominator.bit_length()) // 2
    scaled = square / Fraction(4) ** shift
    with np.errstate(over="ignore", under="ignore"):
        value = np.ldexp(math.sqrt(scaled), shift)
        upper = np.ldexp(math.sqrt(scaled) * (1.0 + _ROUNDING), shift)
    return Enclosure.around(value, value * (1.0 - _ROUNDING), np.maximum(upper, 5e-324))


def _gaps(exact: Rational, point: Point, lam: float) -> Gaps:
    safety, capability = (Enclosure.of_fractions(g) for g in exact.gaps(point))
    known = np.asarray(lam, dtype=np.float64)
    return Gaps(point.floats(), safety, capability, Enclosure.exactly(known), safety)


def penalised(exact: Rational, lam: float) -> Gaps:
    """At a given ``lam``; gaps are the same at every minimiser, because both losses are."""
    return _gaps(exact, exact.penalised(Fraction(float(lam))), lam)


def constrained(exact: Rational, problem: QuadraticProblem, epsilon: float) -> Gaps:
    """The least task loss with a safety gap of at most ``epsilon``."""
    allowed = Fraction(float(epsilon))
    free = exact.task_optimum
    loosest = exact.gaps(free)[0]
    if loosest <= allowed:
        found = _gaps(exact, free, 0.0)
        if exact.safety_free:
            return found
        reach = Enclosure.of_fractions(loosest, allowed)
        spread = Enclosure.around(found.safety.value, found.safety.lower, reach.upper)
        return replace(found, safety_range=spread, which=floating.SAFEST)
    if allowed == 0:
        return _gaps(exact, exact.proxy_optimum, math.inf)

    def ratio(lam: Fraction) -> Fraction:
        return exact.gaps(exact.penalised(lam))[0] / allowed

    guess = floating.multiplier(problem, epsilon)
    low, high = bracket(ratio, math.log2(guess))
    points = [exact.penalised(lam) for lam in (low, high)]
    capability = [exact.gaps(point)[1] for point in points]
    held = Enclosure.of_fractions(allowed)
    return Gaps(
        points[1].floats(),
        held,
        Enclosure.of_fractions(*capability),
        Enclosure.of_fractions(low, high),
        held,
    )


def within_ball(exact: Rational, problem: QuadraticProblem, lam: float, radius: float) -> Gaps:
    """``min f_f + lam f_s`` over ``|theta - theta_s| <= radius``."""
    weight, squared = Fraction(float(lam)), Fraction(float(radius)) ** 2
    free = exact.penalised(weight, shortest=True)
    length = free.squared()
    if length <= squared:
        found = _gaps(exact, free, lam)
        if lam or not exact.task_is_flat or exact.safety_free:
            return found
        spread = _spread(exact, problem, found, float(squared - length))
        return replace(found, safety_range=spread, which=floating.NEAREST)

    def ratio(nu: Fraction) -> Fraction:
        return exact.penalised(weight, nu).squared() / squared

    guess = floating.ball(problem, lam, radius).nu
    low, high = bracket(ratio, math.log2(guess) if guess > 0 else -1000.0)
    points = [exact.penalised(weight, nu) for nu in (low, high)]
    # Every component of the step in the eigenbasis falls in nu: the truth is between the two.
    apart = root(points[0].squared_distance(points[1])).upper
    safety, capability = (
        _moved(gap, bend * apart)
        for gap, bend in zip(
            exact.gaps(points[1]),
            (_bend(problem.spectrum_s), _bend(problem.spectrum_f)),
            strict=True,
        )
    )
    known = np.asarray(lam, dtype=np.float64)
    return Gaps(points[1].floats(), safety, capability, Enclosure.exactly(known), safety)


def _bend(spectrum: Array) -> float:
    """``sqrt(beta / 2)``: how fast the square root of a gap can change, from above."""
    return float(np.sqrt(0.5 * spectrum[..., -1]) * (1.0 + 1e-12))


def _moved(gap: Fraction, change: Array | float) -> Enclosure:
    """The gap of a point whose square root of the gap differs by at most ``change``."""
    middle = root(gap)
    lower = np.square(np.maximum(middle.lower - change, 0.0)) * (1.0 - _ROUNDING)
    upper = np.square(middle.upper + change) * (1.0 + _ROUNDING)
    return Enclosure.around(Enclosure.of_fractions(gap).value, lower, np.maximum(upper, 5e-324))


def _spread(exact: Rational, problem: QuadraticProblem, found: Gaps, room: float) -> Enclosure:
    """The safety gaps of all minimisers of ``f_f`` within the ball, from their dual problems.

    Minimisers are ``step + Q w`` with ``|w|^2 <= room``; any multiplier gives a valid limit.
    """
    basis = exact.null_task
    bent = basis.T @ problem.H_s @ basis
    curvature, turn = np.linalg.eigh(0.5 * (bent + bent.T))
    pull = np.square(turn.T @ (basis.T @ (problem.H_s @ found.step)))
    largest = problem.spectrum_s[..., -1]
    noise = 1e-13 * largest * (room + float(found.step @ found.step))
    middle = float(found.safety.value)

    def most(log: float) -> float:
        multiplier = curvature[-1] + largest * np.exp(log)
        return 0.5 * multiplier * room + 0.5 * (pull / (multiplier - curvature)).sum()

    def least(log: float) -> float:
        shift = np.maximum(curvature, 0.0) + largest * np.exp(log)
        return 0.5 * (pull / shift).sum() + 0.5 * largest * np.exp(log) * room

    if room == 0.0 or largest == 0.0:
        return found.safety

    def limit(f: Callable[[float], float]) -> float:
        options = {"xatol": 1e-9}
        found: OptimizeResult = minimize_scalar(
            f, bounds=(-40.0, 20.0), method="bounded", options=options
        )
        return float(found.fun)

    safest = below(exact.gaps(exact.task_optimum)[0])
    lower = max(middle - limit(least) - noise, safest)
    return Enclosure.around(
        found.safety.value, np.asarray(lower), np.asarray(middle + limit(most) + noise)
    )


def least_sum(exact: Rational, lam: float) -> tuple[Array, Array]:
    """``G_f`` and ``lam G_s`` at the minimum of their sum, rounded down."""
    weight = Fraction(lam)
    safety, capability = exact.gaps(exact.penalised(weight))
    return np.asarray(below(capability)), np.asarray(below(weight * safety))
