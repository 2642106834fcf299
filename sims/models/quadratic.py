"""Bowls: quadratic safety, proxy and task losses whose sensitive directions are shared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp

from sims.models.base import Gaps
from sims.pair import Knobs


class Bowls(NamedTuple):
    """``f = 1/2 (theta - centre)' H (theta - centre)``: curvatures ``[d, d]``, centres ``[d]``."""

    H_s: jax.Array
    H_hat: jax.Array
    H_f: jax.Array
    theta_s: jax.Array
    theta_hat: jax.Array
    theta_f: jax.Array


@dataclass(frozen=True)
class Quadratic:
    """Curvatures of ``d / 2`` stiff directions: ``overlap`` turns the task's into the safety's.

    The others have a curvature of ``ridge``, so that the price of a shared angle is graded:
    ``overlap = 0``: the stiff directions are orthogonal; 1: the same. ``disagreement`` scales
    the distance between the optima; ``context_mismatch`` mixes a foreign curvature into the
    proxy's, ``teacher_mismatch`` moves its optimum.
    """

    dimension: int = 6
    ridge: float = 0.02
    name: str = "quadratic"

    def problem(self, key: jax.Array, knobs: Knobs) -> Bowls:
        """Positive semidefinite curvatures in a random basis."""
        d, half = self.dimension, self.dimension // 2
        keys = jax.random.split(key, 7)
        basis = jnp.linalg.qr(jax.random.normal(keys[0], (d, d)))[0]
        inside, outside = basis[:, :half], basis[:, half : 2 * half]
        overlap = jnp.asarray(knobs.overlap)
        turned = jnp.sqrt(overlap) * inside + jnp.sqrt(1 - overlap) * outside

        def curvature(key: jax.Array, span: jax.Array) -> jax.Array:
            size = jnp.exp(0.5 * jax.random.normal(key, (half,)))
            return (span * size) @ span.T + self.ridge * jnp.eye(d)

        H_s, H_f = curvature(keys[1], inside), curvature(keys[2], turned)
        missed = knobs.context_mismatch
        H_hat = (1 - missed) * H_s + missed * curvature(keys[3], outside)
        theta_s = jax.random.normal(keys[4], (d,))
        step = jax.random.normal(keys[5], (d,))
        apart = knobs.teacher_mismatch * jax.random.normal(keys[6], (d,))
        theta_f = theta_s + 2.0 * knobs.disagreement * step
        return Bowls(H_s, H_hat, H_f, theta_s, theta_s + apart, theta_f)

    def start(self, key: jax.Array, problem: Bowls) -> jax.Array:
        """The safety optimum itself: it is known in closed form."""
        return problem.theta_s

    def gaps(self, theta: jax.Array, problem: Bowls) -> Gaps:
        """The quadratic forms; floors are 0."""

        def gap(H: jax.Array, centre: jax.Array) -> jax.Array:
            step = theta - centre
            return 0.5 * step @ H @ step

        return Gaps(
            gap(problem.H_s, problem.theta_s),
            gap(problem.H_hat, problem.theta_hat),
            gap(problem.H_f, problem.theta_f),
        )

    def sampled(self, key: jax.Array, problem: Bowls, batch: int) -> Bowls:
        """Centres moved by the mean of ``batch`` standard normal draws."""
        noise = jax.random.normal(key, (3, self.dimension)) / jnp.sqrt(batch)
        return problem._replace(
            theta_s=problem.theta_s + noise[0],
            theta_hat=problem.theta_hat + noise[1],
            theta_f=problem.theta_f + noise[2],
        )
