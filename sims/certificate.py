"""How far a finished run may be from the minimum of its own objective: certified, in nats."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from sims.pair import Pair


def least_objective(pair: Pair, lam: jax.Array | float) -> jax.Array:
    """``min_P G_f + lam G_hat_s`` over all policies (T3): no model class gets below it.

    ``lam`` may be 0 or inf; at inf the proxy's contexts keep their own targets and the minimum is
    that of the weighted sum's finite part, 0 for the proxy.
    """
    lam = jnp.asarray(lam)
    proxy = lam * pair.rho_hat
    total = pair.rho_f + proxy
    weight = jnp.where(total > 0, proxy / jnp.where(total > 0, total, 1.0), 0.0)[:, None]
    mixture = (1.0 - weight) * pair.mu_f + weight * pair.mu_hat

    def divergence(mu: jax.Array) -> jax.Array:
        used = mu > 0
        logs = jnp.log(jnp.where(used, mu, 1.0)) - jnp.log(jnp.where(used, mixture, 1.0))
        return (jnp.where(used, mu * logs, 0.0) - mu + mixture).sum(axis=-1)

    both = (pair.rho_f > 0) & (proxy > 0)
    parts = pair.rho_f * divergence(pair.mu_f) + proxy * divergence(pair.mu_hat)
    return jnp.where(both, parts, 0.0).sum()


def ball_gap(
    theta: jax.Array, centre: jax.Array, radius: jax.Array | float, gradient: jax.Array
) -> jax.Array:
    """Frank-Wolfe gap ``<g, theta - centre> + radius |g|``: a convex loss is within it of its
    minimum over the ball. ``theta, centre, gradient [d]``; inf for an infinite radius.
    """
    reach = radius * jnp.linalg.norm(gradient)
    gap = jnp.maximum(gradient @ (theta - centre) + reach, 0.0)
    return jnp.where(jnp.isfinite(reach), gap, jnp.inf)
