"""One compiled loop for fine-tunes and their coarse unrolls: AdamW or SGD on sampled rows."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from sims.forecasts.world import Measured, Rows, Values, World

LONGEST = 512
"""Steps that an array of learning rates has room for."""
CLIP = 1.0
"""Largest norm of a step's gradient, as fine-tunes have it."""
_EPS = 1e-8

Gradient = Callable[[jax.Array, jax.Array], jax.Array]
"""Of the weights and the step's number; the step's rows are its own affair."""


class Optimiser(NamedTuple):
    """A run's optimiser in numbers; scalars, or ``[n]`` for a batch of runs.

    ``rates [steps]``: the learning rate of each step. ``adam``: whether AdamW (without decay) or
    SGD. ``first`` is AdamW's beta1 or SGD's momentum, ``second`` AdamW's beta2.
    """

    rates: np.ndarray
    adam: np.ndarray | bool
    first: np.ndarray | float
    second: np.ndarray | float


class Run(NamedTuple):
    """A toy fine-tune; ``[n]`` for a batch. ``safety_share``: of its rows, safety rows."""

    start: Values
    rows: Rows
    optimiser: Optimiser
    safety_share: Values
    key: jax.Array


def unrolled(
    gradient: Gradient,
    start: Values,
    optimiser: Optimiser,
    steps: jax.Array | int,
    *,
    clip: float = CLIP,
) -> jax.Array:
    """Weights ``[d]`` after ``steps`` steps from ``start``."""
    rates, *decays = (
        jnp.asarray(value, start.dtype)
        for value in (optimiser.rates, optimiser.first, optimiser.second)
    )
    first, second = decays

    def step(k: jax.Array, state: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        theta, mean, square = state
        g = gradient(theta, k)
        g = g * jnp.minimum(1.0, clip / (jnp.linalg.norm(g) + 1e-12))
        mean = first * mean + jnp.where(optimiser.adam, 1.0 - first, 1.0) * g
        square = second * square + (1.0 - second) * g**2
        root = jnp.sqrt(square / (1.0 - second ** (k + 1)))
        scaled = mean / (1.0 - first ** (k + 1)) / (root + _EPS)
        theta = theta - rates[k] * jnp.where(optimiser.adam, scaled, mean)
        return theta, mean, square

    begun = jnp.asarray(start)
    zero = jnp.zeros_like(begun)
    return jax.lax.fori_loop(0, steps, step, (begun, zero, zero))[0]


@lru_cache
def compiled(
    world: World, batch: int, *, paired: bool = False, clip: float = CLIP
) -> Callable[[Run, int], jax.Array]:
    """Ends ``[n, d]`` of ``n`` runs of ``batch`` rows a step and equally many steps.

    ``safety_share`` of the rows are drawn from the safety data; ``paired``, every step sees
    ``batch`` rows of either data instead, and the share is the weight of the safety rows' loss.
    """

    def one(run: Run, steps: jax.Array) -> jax.Array:
        task, safety = (jnp.cumsum(p).astype(jnp.float32) for p in (run.rows.task, run.rows.safety))
        last = len(task) - 1  # rounding may leave the last sum below 1

        def gradient(theta: jax.Array, k: jax.Array) -> jax.Array:
            u = jax.random.uniform(jax.random.fold_in(run.key, k), (2, batch), jnp.float32)
            is_safety = u[1] < run.safety_share
            if paired:
                u = u.ravel()
                is_safety = jnp.arange(len(u)) >= batch
            else:
                u = u[0]
            from_task, from_safety = (jnp.searchsorted(c, u) for c in (task, safety))
            drawn = jnp.minimum(jnp.where(is_safety, from_safety, from_task), last)

            def loss(theta: jax.Array) -> jax.Array:
                nats = world.losses(theta, run.rows.tokens[drawn], run.rows.targets[drawn])
                if not paired:
                    return nats.mean()
                share = jnp.asarray(run.safety_share)
                return (1.0 - share) * nats[:batch].mean() + share * nats[batch:].mean()

            return jax.grad(loss)(theta)

        return unrolled(gradient, run.start, run.optimiser, steps, clip=clip)

    return jax.jit(jax.vmap(one, in_axes=(0, None)))


@lru_cache
def measuring(world: World) -> Callable[[Values, Rows], Measured]:
    """Compiled: the measures of weights ``[n, d]`` on the rows of their own worlds."""
    return jax.jit(jax.vmap(world.measured))
