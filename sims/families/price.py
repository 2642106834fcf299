"""Policies that never saw the safety data, against the worst data that fits the proxy (T11)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from sims.family import ClosedForm, Kind, Run
from theory.bound import Quantity
from theory.divergence import Array
from theory.problem import Constants
from theory.strategy import LossConstraint, Strategy

_VOCABULARIES = (2, 3, 4, 16, 1000)
_ERROR = 1e-15


@dataclass(frozen=True, eq=False)
class Blind(Constants):
    """What is known without the safety data, and how many policies to try on it."""

    policies: int = 1


class Price(ClosedForm[Blind]):
    """Safety data within total variation eta of the proxy, chosen against the policy.

    One eta and vocabulary a batch; an instance is a policy. "context": the proxy misses a context
    ``x_0`` and ``D_s = (1 - eta) D_hat_s + eta delta(x_0, y)`` for the answer y that the policy
    thinks least likely. "teacher": ``mu_hat_s = delta_0`` and ``mu_s`` is ``delta_0`` or moves eta
    to another answer; the gap is convex in mu_s, so these corners hold its supremum.
    """

    name = "price"

    def draw(self, rng: np.random.Generator, n: int) -> Blind:
        """An eta over three decades with a small or large vocabulary; ``n`` policies later."""
        eta = float(10.0 ** rng.uniform(-3, 0))
        size = int(rng.choice(_VOCABULARIES))
        return Blind({"tv": eta, "tv_teacher": eta, "vocabulary": size}, policies=n)

    def strategies(self, rng: np.random.Generator, problem: Blind) -> Iterator[Strategy]:
        """Any one: the price does not depend on it."""
        yield LossConstraint(lam=1.0)

    def truths(self, problem: Blind, strategy: Strategy) -> dict[Quantity, Array]:
        """The worst gap of the best hedge against an unknown teacher, nats."""
        eta, size = problem["tv"].value, problem["vocabulary"].value
        return {
            Quantity.SAFETY_GAP: _worst_teacher(eta, size, _hedges(eta, size)).min(keepdims=True)
        }

    def runs(self, rng: np.random.Generator, problem: Blind, strategy: Strategy) -> Iterator[Run]:
        """Random policies and the hedges, under a missing context and under a wrong teacher."""
        eta, size, n = problem["tv"].value, int(problem["vocabulary"].value), problem.policies
        concentration = rng.choice([0.3, 1.0, 10.0], size=(n, 1))
        unseen = rng.gamma(concentration, size=(n, size)) + 1e-300
        unseen[rng.random(n) < 0.3] = 1.0
        unseen /= unseen.sum(axis=-1, keepdims=True)
        proxy_gap = np.where(rng.random(n) < 0.5, 0.0, rng.exponential(0.1, size=n))
        context = (1.0 - eta) * proxy_gap - eta * np.log(unseen.min(axis=-1))
        moved = np.where(rng.random(n) < 0.5, rng.random(n), rng.choice(_hedges(eta, size), size=n))
        teacher = _worst_teacher(eta, size, moved)
        for gap, forms in ((context, ("context",)), (teacher, ("teacher", "teacher_exact"))):
            yield Run(
                kind=Kind.MINIMISER,
                truth={Quantity.SAFETY_GAP: gap},
                error={Quantity.SAFETY_GAP: np.full(n, _ERROR)},
                forms=forms,
            )


def _hedges(eta: float, size: float) -> Array:
    """Mass off the certain answer: as much as may move there, and what makes corners equal."""
    if eta >= 1.0:
        return np.array([1.0 - 1e-12])
    odds = np.log((size - 1.0) * eta) + (1.0 - eta) / eta * np.log1p(-eta)
    return np.array([eta, 1.0 / (1.0 + np.exp(-odds))])


def _worst_teacher(eta: float, size: float, moved: Array) -> Array:
    """``max KL(mu_s || P)`` for ``P = (1 - p, p / (V - 1), ...)``, ``p = moved [n]``, nats."""
    with np.errstate(divide="ignore"):
        certain = -np.log1p(-moved)
        other = eta * np.log(eta * (size - 1.0) / moved)
        rest = (1.0 - eta) * (np.log1p(-eta) - np.log1p(-moved)) if eta < 1.0 else 0.0
    return np.maximum(certain, other + rest)
