"""What an experiment on an assumption gives, and the ordinary problems it draws."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from theory.bound import Direction
from theory.divergence import Array
from theory.problem import Distribution, QuadraticProblem, TabularProblem


@dataclass(frozen=True, eq=False)
class AssumptionFinding:
    """What the formula claims and what is true, ``[n]`` each; ``resolution`` of the truth."""

    bound: Array
    truth: Array
    direction: Direction = Direction.UPPER
    resolution: float = 1e-9

    def ratios(self) -> Array:
        """Truth / bound, bound / truth of a lower bound, the larger for an equality, ``[n]``."""
        bound, truth = np.asarray(self.bound, np.float64), np.asarray(self.truth, np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            upper = np.where(truth > 0, truth / bound, 0.0)
            lower = np.where(bound > 0, bound / truth, 0.0)
        if self.direction is Direction.EQUALITY:
            return np.maximum(upper, lower)
        return upper if self.direction is Direction.UPPER else lower


@dataclass(frozen=True)
class Experiment:
    """A formula used where ``assumption`` fails.

    ``run(rng, n, holds)`` draws ``n`` instances on which the assumption holds or fails, the rest
    alike. ``cost`` divides the number of instances where one is expensive.
    """

    name: str
    statement: str
    assumption: str
    run: Callable[[np.random.Generator, int, bool], AssumptionFinding]
    cost: int = 1


def distribution(
    rng: np.random.Generator, n: int, contexts: int, responses: int, concentration: float = 1.0
) -> Distribution:
    """Full support on contexts and responses."""
    return Distribution(
        rng.dirichlet(np.full(contexts, 3.0), n),
        rng.dirichlet(np.full(responses, concentration), (n, contexts)),
    )


def table(
    rng: np.random.Generator, n: int, contexts: int = 3, responses: int = 4, **parts: Any
) -> TabularProblem:
    """Independent safety, proxy and task data, except for the ``parts`` given."""
    drawn: dict[str, Any] = {
        name: distribution(rng, n, contexts, responses) for name in ("safety", "proxy", "task")
    }
    return TabularProblem(**{**drawn, **parts})


def bowls(rng: np.random.Generator, n: int, dimension: int = 2) -> QuadraticProblem:
    """Quadratic losses with curvatures within a factor of a few tens."""
    factors = rng.normal(size=(2, n, dimension, dimension))
    hessians = factors @ np.swapaxes(factors, -1, -2) + 0.3 * np.eye(dimension)
    return QuadraticProblem(*hessians, *rng.normal(size=(2, n, dimension)))


def strengths(rng: np.random.Generator, n: int) -> Array:
    """``lambda [n]`` over four decades."""
    return 10.0 ** rng.uniform(-2, 2, size=n)


def half_form(matrix: Array, vector: Array) -> Array:
    """``v' H v / 2``, ``[n]``."""
    return 0.5 * np.einsum("ni,nij,nj->n", vector, matrix, vector)
