"""The adversary: its formulas are theory's, it climbs, and it never gets past 1."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from sims.adversary import TIGHT, instance, random_parameters, search
from sims.families.tabular import gaps
from theory.bound import Quantity
from theory.evaluation import evaluate
from theory.problem import Distribution, TabularProblem
from theory.strategy import LossConstraint

N = 50


@pytest.fixture(scope="module")
def instances():
    parameters = random_parameters(np.random.default_rng(0), N)
    found = jax.vmap(instance)(parameters)
    return found, {name: np.asarray(value) for name, value in found.items()}


@pytest.mark.parametrize("key", list(TIGHT), ids="/".join)
def test_its_bounds_are_those_of_theory(instances, key) -> None:
    statement, quantity, form = key
    traced, x = instances
    problem = TabularProblem(
        safety=Distribution(x["rho_s"], x["mu_s"]),
        proxy=Distribution(x["rho_hat"], x["mu_hat"]),
        task=Distribution(x["rho_f"], x["mu_f"]),
    )
    bound, _, upper = TIGHT[key]
    (known,) = [
        b
        for b in evaluate(problem, LossConstraint(lam=x["lam"]), statements=[statement])
        if b.quantity == quantity
        and b.form.startswith(form)
        and b.direction == ("upper" if upper else "lower")
    ]
    np.testing.assert_allclose(jax.vmap(bound)(traced), known.value, rtol=1e-10)


def test_its_gaps_of_a_free_policy_are_those_of_the_definition(instances) -> None:
    traced, x = instances
    problem = TabularProblem(
        safety=Distribution(x["rho_s"], x["mu_s"]), task=Distribution(x["rho_f"], x["mu_f"])
    )
    truth = gaps(problem, x["policy"])
    total = truth[Quantity.CAPABILITY_GAP] + x["lam"] * truth[Quantity.SAFETY_GAP]
    key = next(key for key in TIGHT if key[:2] == ("T10", "weighted_sum"))
    np.testing.assert_allclose(jax.vmap(TIGHT[key][1])(traced), total, rtol=1e-10)


def test_it_climbs_close_to_every_tight_bound_and_past_none() -> None:
    start, found = search(seed=0, steps=0), search(seed=0)
    assert set(start) == set(found) == {"/".join(key) for key in TIGHT}
    for name, ratio in found.items():
        assert ratio > start[name]
        assert 0.99 < ratio <= 1.0 + 1e-9, name


def test_the_seed_decides_the_search() -> None:
    first, again, other = (search(seed=s, steps=5) for s in (1, 1, 2))
    assert first == again != other
