"""Case II and the hybrid on tables: accelerated projected gradients, with a certified slack."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

import sims.precision  # noqa: F401  (64-bit before the first trace)
from theory.divergence import Array
from theory.problem import TabularProblem

_STEPS = 80
# Rounding of the gradient and of the inner products of a Frank-Wolfe gap.
_ROUNDING = 1e-14


def minimise_in_ball(
    problem: TabularProblem, *, lam: ArrayLike, radius: ArrayLike
) -> tuple[Array, Array]:
    """``min f_f + lam f_hat_s`` over ``|z - z_s| <= radius``: policies ``[n, X, V]`` and slacks.

    The objective is convex in the logits, so ``max <grad F(z), z - u>`` over the ball bounds
    ``F(z) - min F``: that is the slack ``[n]``, nats. The policy is feasible and no worse than the
    aligned model. A probability that is 0 in the aligned model stays 0.
    """
    shape = problem.batch_shape
    lam, radius = (np.broadcast_to(np.asarray(v, dtype=np.float64), shape) for v in (lam, radius))
    proxy = lam[:, None, None] * problem.proxy.context[..., None] * problem.proxy.target
    wanted = problem.task.context[..., None] * problem.task.target + proxy
    mass = problem.task.context + lam[:, None] * problem.proxy.context
    step, slack = _solve(problem.aligned, wanted, mass, radius * (1.0 - 1e-14), steps=_STEPS)
    return moved(problem.aligned, np.asarray(step)), np.asarray(slack)


def moved(aligned: Array, step: np.ndarray) -> np.ndarray:
    """The policy whose logits lie ``step`` from those of ``aligned``; zeros stay, long double."""
    alive = aligned > 0
    step = np.where(alive, step, -np.inf).astype(np.longdouble)
    weights = aligned * np.exp(step - step.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


@partial(jax.jit, static_argnames="steps")
def _solve(aligned, wanted, mass, radius, *, steps: int):
    return jax.vmap(partial(_solve_one, steps=steps))(aligned, wanted, mass, radius)


def _solve_one(aligned, wanted, mass, radius, *, steps: int):
    alive = aligned > 0
    wanted = jnp.where(alive, wanted, 0.0)
    # |diag p - p p'| <= 1/2, so the objective is max(mass) / 2 - smooth.
    rate = 2.0 / jnp.maximum(mass.max(), 1e-300)

    def policy(u):
        weights = jnp.where(alive, aligned * jnp.exp(u - u.max(axis=-1, keepdims=True)), 0.0)
        return weights / weights.sum(axis=-1, keepdims=True)

    def gradient(u):
        # Answers with aligned probability 0 are out of reach: their mass pulls nowhere.
        return jnp.where(alive, wanted.sum(axis=-1, keepdims=True) * policy(u) - wanted, 0.0)

    def change(u):
        growth = jnp.log1p((aligned * jnp.expm1(u)).sum(axis=-1))
        return (wanted.sum(axis=-1) * growth).sum() - (wanted * u).sum()

    def project(u):
        norm = jnp.sqrt((u * u).sum())
        return u * jnp.where(norm > radius, radius / jnp.where(norm > 0, norm, 1.0), 1.0)

    def advance(_, state):
        u, ahead, momentum, best, best_value = state
        new = project(ahead - rate * gradient(ahead))
        value = change(new)
        better = value < best_value
        best, best_value = jnp.where(better, new, best), jnp.where(better, value, best_value)
        # Momentum restarts where it points uphill.
        restart = ((ahead - new) * (new - u)).sum() > 0
        following = jnp.where(restart, 1.0, 0.5 * (1.0 + jnp.sqrt(1.0 + 4.0 * momentum**2)))
        push = jnp.where(restart, 0.0, (momentum - 1.0) / following)
        return new, new + push * (new - u), following, best, best_value

    start = jnp.zeros_like(aligned)
    state = (start, start, 1.0, start, 0.0)
    best = jax.lax.fori_loop(0, steps, advance, state)[3]
    slope = gradient(best)
    size = jnp.sqrt((slope * slope).sum())
    gap = (slope * best).sum() + radius * size
    rounding = _ROUNDING * (radius * (size + mass.sum() * 1e-2))
    return best, jnp.maximum(gap, 0.0) + rounding
