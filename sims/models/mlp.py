"""A network with one hidden layer on the contexts' features (flax)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import jax
import jax.numpy as jnp
from flax import nnx
from jax.flatten_util import ravel_pytree

from sims.models.base import HALF_RANGE, OnFeatures, TableProblem


class Network(nnx.Module):
    """``z = W_2 tanh(W_1 phi + b_1) + b_2``."""

    def __init__(self, inputs: int, hidden: int, outputs: int, rngs: nnx.Rngs) -> None:
        self.first = nnx.Linear(inputs, hidden, rngs=rngs, param_dtype=jnp.float64)
        self.second = nnx.Linear(hidden, outputs, rngs=rngs, param_dtype=jnp.float64)

    def __call__(self, phi: jax.Array) -> jax.Array:
        return self.second(jnp.tanh(self.first(phi)))


@dataclass(frozen=True)
class MLP(OnFeatures):
    """One hidden layer of ``hidden`` tanh units; ``theta`` holds all weights and biases."""

    hidden: int = 16
    name: str = "mlp"

    def _network(self, rngs: nnx.Rngs) -> Network:
        return Network(self.dimension, self.hidden, self.sizes.responses, rngs)

    @cached_property
    def _parts(self):
        graph, state = nnx.split(self._network(nnx.Rngs(0)))
        return graph, ravel_pytree(state)[1]

    def start(self, key: jax.Array, problem: TableProblem) -> jax.Array:
        """Flax's own initialisation."""
        return ravel_pytree(nnx.state(self._network(nnx.Rngs(key)), nnx.Param))[0]

    def logits(self, theta: jax.Array, inputs: jax.Array) -> jax.Array:
        """``[X, V]`` for features ``[X, k]``."""
        graph, unravel = self._parts
        return nnx.merge(graph, unravel(theta))(inputs)

    def constants(
        self, problem: TableProblem, theta_s: jax.Array, radius: jax.Array
    ) -> dict[str, jax.Array]:
        """``|dz| <= sqrt(h + 1) |d(W_2, b_2)| + |W_2| sqrt(|phi|^2 + 1) |d(W_1, b_1)|``.

        tanh has slope and size at most 1, and ``|W_2|`` grows by at most the radius in the ball.
        """
        _, unravel = self._parts
        stiffest = jnp.linalg.norm(unravel(theta_s)["second"]["kernel"][...], ord=2) + radius
        longest = (problem.inputs**2).sum(axis=-1).max()
        slope = jnp.sqrt(self.hidden + 1.0 + stiffest**2 * (longest + 1.0))
        return {"logit_lipschitz": HALF_RANGE * slope}
