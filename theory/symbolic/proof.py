"""What it means that sympy proves an identity: exact simplification, never a numeric test."""

from __future__ import annotations

from dataclasses import dataclass

import sympy as sp

HALF = sp.Rational(1, 2)
Side = sp.Basic | sp.MatrixBase


@dataclass(frozen=True)
class Identity:
    """``left = right``, for all values of the (positive) symbols; ``holds`` if sympy proves it.

    ``statement`` says in words and LaTeX what it means. Sides are expressions or matrices of them.
    """

    statement: str
    left: Side
    right: Side
    holds: bool


def symmetric(name: str) -> sp.Matrix:
    """A generic symmetric 2 x 2 matrix with a positive diagonal."""
    a, c = sp.symbols(f"{name}11 {name}22", positive=True)
    b = sp.Symbol(f"{name}12", real=True)
    return sp.Matrix([[a, b], [b, c]])


def identity(statement: str, left: Side, right: Side) -> Identity:
    """State ``left = right`` and try to prove it."""
    return Identity(statement, left, right, proved(left, right))


def proved(left: Side, right: Side) -> bool:
    """Whether ``left - right`` is 0: refuted at one exact point, or proved by simplification.

    Logarithms are expanded into those of irreducible factors, which are then independent
    symbols; what is left is a rational function in normal form. True is always a proof; False
    may also mean that the normal form did not reach 0.
    """
    differences = sp.Matrix([left]) - sp.Matrix([right])
    return not any(_refuted(d) for d in differences) and all(_vanishes(d) for d in differences)


def _refuted(difference: sp.Expr) -> bool:
    """Nonzero at one point of distinct positive rationals: then it is no identity."""
    symbols = sorted(difference.free_symbols, key=str)
    # Distinct fractions below 1, so that symbols of probabilities stay in their range.
    point: dict[sp.Basic | complex, sp.Basic | complex] = {
        s: sp.Rational(2 * i + 3, 4 * len(symbols) + 11) for i, s in enumerate(symbols)
    }
    return abs(sp.N(difference.subs(point), 40)) > sp.Float("1e-30")


def _vanishes(difference: sp.Expr) -> bool:
    separated = difference.replace(sp.log, lambda argument: _factored_log(argument))
    atoms = {log: sp.Dummy() for log in separated.atoms(sp.log)}
    return sp.cancel(sp.together(separated.xreplace(atoms))) == 0


def _factored_log(argument: sp.Expr) -> sp.Expr:
    return sp.expand_log(sp.log(sp.factor(sp.together(argument))), force=True)
