"""Sympy proves each identity, and refuses each with one number changed."""

from __future__ import annotations

import pytest
import sympy as sp

from theory.symbolic import identities, identities_training
from theory.symbolic.proof import Identity, proved

ALL = [make for group in identities.IDENTITIES.values() for make in group]


@pytest.fixture(scope="module", params=ALL, ids=lambda make: make.__name__)
def stated(request) -> Identity:
    return request.param()


def test_the_identity_is_proved(stated):
    assert stated.holds
    assert stated.left != stated.right  # there was something to prove
    assert stated.statement.count("$") % 2 == 0


def mutants(right: sp.Basic):
    """The right side with one number changed, or one summand or the whole of it rescaled."""
    yield right * sp.Rational(9, 8)
    for number in right.atoms(sp.Number) - {sp.S.Zero}:
        yield right.xreplace({number: number + 1})
        yield right.xreplace({number: -number})
    if isinstance(right, sp.Expr):
        for summand in sp.Add.make_args(right):
            yield right + summand / 7


def test_every_changed_number_is_caught(stated):
    tried = 0
    for mutant in mutants(stated.right):
        if mutant.has(sp.nan, sp.zoo) or mutant == stated.right:
            continue
        tried += 1
        assert not proved(stated.left, mutant), mutant
    assert tried >= 3


def test_every_function_of_the_modules_that_states_an_identity_is_listed():
    stated = {
        name
        for module in (identities, identities_training)
        for name, value in vars(module).items()
        if callable(value)
        and getattr(value, "__module__", "") == module.__name__
        and value.__annotations__.get("return") == "Identity"
    }
    assert stated == {make.__name__ for make in ALL}


def test_logarithms_are_independent_so_a_false_identity_between_them_is_refused():
    x, y = sp.symbols("x y", positive=True)
    assert proved(sp.log(x * y / (x + y)), sp.log(x) + sp.log(y) - sp.log(x + y))
    assert proved(sp.log((x**2 - y**2) / (x + y)), sp.log(x - y))
    assert not proved(sp.log(x + y), sp.log(x) + sp.log(y))
    assert not proved(sp.Matrix([x, y]), sp.Matrix([x, x]))


def test_a_difference_far_below_float_precision_is_no_proof():
    x = sp.Symbol("x", positive=True)
    assert not proved(x + sp.Rational(1, 10**60), x)
