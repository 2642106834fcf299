"""What a family of toy problems gives to the audit: instances, strategies and runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

import numpy as np

from theory.bound import Quantity
from theory.divergence import Array
from theory.problem import Problem
from theory.strategy import Strategy


class Kind(StrEnum):
    """What is known of a run: a statement is only checked on runs that meet its assumptions."""

    MINIMISER = "minimiser"
    IN_BALL = "in the ball"
    ANY = "any policy"


@dataclass(frozen=True, eq=False)
class Run:
    """A batch of fine-tuned models: true gaps ``[n]`` in nats, each with its absolute error.

    ``lam [n]`` is the multiplier of the proxy loss (1 where there is none), ``slack [n]`` the
    certified distance ``delta`` of the training objective from its minimum. ``precision [n]`` is
    the relative error that the strategy's own numbers carry into the truth; ``checked [n]`` is
    False where the truth is not known. ``forms``: the run speaks of these forms alone, if any.
    ``conditioning``: what float64 input errors do to a closed form that is itself the bound.
    """

    kind: Kind
    truth: dict[Quantity, Array]
    error: dict[Quantity, Array]
    lam: Array
    slack: Array
    checked: np.ndarray
    precision: Array = field(default_factory=lambda: np.zeros(()))
    forms: tuple[str, ...] = ()
    conditioning: dict[Quantity, Array] = field(default_factory=dict)


class Family(Protocol):
    """``draw`` a batch, the ``strategies`` to try on it, and what each of them ends at."""

    name: str

    def draw(self, rng: np.random.Generator, n: int) -> Problem:
        """``n`` instances of mixed sparsity and scale, degenerate ones included."""

    def strategies(self, rng: np.random.Generator, problem: Problem) -> Iterable[Strategy]:
        """Strategies with one strength for each instance."""

    def truths(self, problem: Problem, strategy: Strategy) -> dict[Quantity, Array]:
        """True gaps ``[n]`` of the strategy's minimiser, nats."""

    def runs(self, rng: np.random.Generator, problem: Problem, strategy: Strategy) -> Iterable[Run]:
        """The strategy's minimiser, and other models that a bound must hold for."""
