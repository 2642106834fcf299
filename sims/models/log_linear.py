"""Log-linear policies on shared features: overlap through features, not only through contexts."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from sims.models.base import HALF_RANGE, OnFeatures, TableProblem


@dataclass(frozen=True)
class LogLinear(OnFeatures):
    """``z(x) = W phi(x)``, ``theta = W [k V]``; convex losses, unit features.

    With ``dimension >= 2 * 3 * contexts`` the features of the safety side are independent and the
    class realises their targets; with fewer, contexts share features and cannot all be fitted.
    """

    name: str = "log-linear"

    def start(self, key: jax.Array, problem: TableProblem) -> jax.Array:
        """Uniform policies."""
        return jnp.zeros(self.dimension * self.sizes.responses)

    def logits(self, theta: jax.Array, inputs: jax.Array) -> jax.Array:
        """``[X, V]`` for features ``[X, k]``."""
        return inputs @ theta.reshape(self.dimension, self.sizes.responses)

    def constants(
        self, problem: TableProblem, theta_s: jax.Array, radius: jax.Array
    ) -> dict[str, jax.Array]:
        """Global: ``|dz(x)| <= |phi(x)| |dW|``, and a softmax's Hessian is at most 1/2."""
        phi, pair = problem.inputs, problem.pair
        longest = jnp.linalg.norm(phi, axis=-1).max()

        def smoothness(rho: jax.Array) -> jax.Array:
            return 0.5 * jnp.linalg.eigvalsh((phi.T * rho) @ phi)[-1]

        safety, proxy = smoothness(pair.rho_s), smoothness(pair.rho_hat)
        return {
            "logit_lipschitz": HALF_RANGE * longest,
            "lipschitz_safety": longest / HALF_RANGE,
            "smoothness_safety": safety,
            "smoothness_task": smoothness(pair.rho_f),
            # A difference of two positive semidefinite matrices is at most the larger one.
            "smoothness_mismatch": jnp.maximum(safety, proxy),
        }
