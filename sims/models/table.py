"""Tabular softmax: one free row of logits a context."""

from __future__ import annotations

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp

from sims.models.base import OnTables, TableProblem
from sims.pair import Knobs, Sizes, draw_pair


@dataclass(frozen=True)
class Table(OnTables):
    """``theta = z [X V]``; realises every policy, and contexts share no parameter."""

    sizes: Sizes = field(default_factory=Sizes)
    name: str = "tabular"

    def problem(self, key: jax.Array, knobs: Knobs) -> TableProblem:
        """A pair; the input of a context is its own index."""
        return TableProblem(draw_pair(key, knobs, self.sizes), jnp.arange(self.sizes.total))

    def start(self, key: jax.Array, problem: TableProblem) -> jax.Array:
        """Uniform policies."""
        return jnp.zeros(self.sizes.total * self.sizes.responses)

    def logits(self, theta: jax.Array, inputs: jax.Array) -> jax.Array:
        """``[X, V]``: the rows of the contexts, which are all there in their order."""
        return theta.reshape(self.sizes.total, self.sizes.responses)
