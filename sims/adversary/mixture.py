"""A table and its minimiser under a loss constraint, as the adversary's formulas see them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import jax
import jax.numpy as jnp

import sims.precision  # noqa: F401  (64-bit before the first trace)

CONTEXTS, RESPONSES = 3, 3


def kl(p: jax.Array, q: jax.Array) -> jax.Array:
    """``KL(p || q)`` of rows of full support, each summand ``p log(p / q) - p + q >= 0``."""
    return (p * (jnp.log(p) - jnp.log(q)) - p + q).sum(axis=-1)


def distance(p: jax.Array, q: jax.Array) -> jax.Array:
    """Total variation of rows."""
    return 0.5 * jnp.abs(p - q).sum(axis=-1)


def norm(table: jax.Array) -> jax.Array:
    """Euclidean norm of a table, with slope 0 at 0."""
    squared = (table**2).sum()
    return jnp.where(squared > 0, jnp.sqrt(jnp.where(squared > 0, squared, 1.0)), 0.0)


def centred(table: jax.Array) -> jax.Array:
    """Logits up to a shift of each context."""
    return table - table.mean(axis=-1, keepdims=True)


def front(
    task: tuple[jax.Array, jax.Array], safety: tuple[jax.Array, jax.Array], lam: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """``G_f`` and ``G_s`` where ``G_f + lam G_s`` is least; masses and targets of each data set."""
    (rho_f, mu_f), (rho_s, mu_s) = task, safety
    w = (lam * rho_s / (rho_f + lam * rho_s))[:, None]
    best = (1.0 - w) * mu_f + w * mu_s
    return (rho_f * kl(mu_f, best)).sum(), (rho_s * kl(mu_s, best)).sum()


class Mixture:
    """One instance: distributions, the minimiser ``P_lambda`` and what bounds are made of."""

    def __init__(self, p: Mapping[str, jax.Array]) -> None:
        same_contexts, same_teacher = p["fixed_same_contexts"] > 0, p["fixed_same_teacher"] > 0
        covers, uses = p["fixed_covers"] > 0, p["fixed_uses"] > 0
        self.lam = jnp.exp(p["log_lam"])
        self.rho_s = jax.nn.softmax(p["rho_s"])
        proxy = jax.nn.softmax(jnp.where(covers, p["rho_hat"], -jnp.inf))
        self.rho_hat = jnp.where(same_contexts, self.rho_s, proxy)
        self.rho_f = jax.nn.softmax(jnp.where(uses, p["rho_f"], -jnp.inf))
        self.mu_s, self.mu_f = jax.nn.softmax(p["mu_s"]), jax.nn.softmax(p["mu_f"])
        self.mu_hat = jnp.where(same_teacher, self.mu_s, jax.nn.softmax(p["mu_hat"]))
        # Contexts outside the support of both task and proxy keep the aligned model's answers.
        total = self.rho_f + self.lam * self.rho_hat
        self.seen = total > 0
        safe = jnp.where(self.seen, total, 1.0)
        self.w = jnp.where(self.seen, self.lam * self.rho_hat / safe, 0.0)
        self.contested = (self.rho_f > 0) & (self.rho_hat > 0)
        drawn = jnp.where(
            self.seen[:, None],
            (self.rho_f / safe)[:, None] * self.mu_f + self.w[:, None] * self.mu_hat,
            self.mu_s,
        )
        # "near": the aligned model is some way off the minimiser, often a short one.
        turned = jnp.log(drawn) + jnp.exp(p["log_size"]) * p["aligned"]
        free = jnp.where(p["fixed_near"] > 0, jax.nn.softmax(turned), jax.nn.softmax(p["aligned"]))
        self.aligned = jnp.where(p["fixed_exact"] > 0, self.mu_s, free)
        self.policy = jnp.where(self.seen[:, None], drawn, self.aligned)
        self.any = jax.nn.softmax(p["policy"])

    def _sum(self, mass: jax.Array, values: jax.Array) -> jax.Array:
        return (mass * jnp.where(mass > 0, values, 0.0)).sum()

    def _gap(self, mass: jax.Array, target: jax.Array, policy: jax.Array) -> jax.Array:
        return self._sum(mass, kl(target, policy))

    @cached_property
    def safety(self) -> jax.Array:
        return self._gap(self.rho_s, self.mu_s, self.policy)

    @cached_property
    def proxy(self) -> jax.Array:
        return self._gap(self.rho_hat, self.mu_hat, self.policy)

    @cached_property
    def task(self) -> jax.Array:
        return self._gap(self.rho_f, self.mu_f, self.policy)

    @cached_property
    def total(self) -> jax.Array:
        return self.task + self.lam * self.proxy

    @cached_property
    def start(self) -> jax.Array:
        return self._gap(self.rho_s, self.mu_s, self.aligned)

    @cached_property
    def proxy_start(self) -> jax.Array:
        return self._gap(self.rho_hat, self.mu_hat, self.aligned)

    @cached_property
    def task_start(self) -> jax.Array:
        return self._gap(self.rho_f, self.mu_f, self.aligned)

    @cached_property
    def change(self) -> jax.Array:
        """``h = l(theta_lambda) - l(theta_s)``, ``[X, V]``."""
        return jnp.log(self.aligned) - jnp.log(self.policy)

    @cached_property
    def rise(self) -> jax.Array:
        return (self.rho_s[:, None] * self.mu_s * self.change).sum()

    @cached_property
    def value_gap(self) -> jax.Array:
        return -(self.rho_f[:, None] * self.mu_f * self.change).sum() / self.lam

    @cached_property
    def oscillation(self) -> jax.Array:
        return self.change.max() - self.change.min()

    @cached_property
    def mismatch(self) -> jax.Array:
        return distance(self._joint(self.rho_s, self.mu_s), self._joint(self.rho_hat, self.mu_hat))

    def _joint(self, mass: jax.Array, target: jax.Array) -> jax.Array:
        return (mass[:, None] * target).ravel()

    @cached_property
    def split(self) -> tuple[jax.Array, jax.Array]:
        """Mismatch of contexts, and of teachers."""
        return distance(self.rho_s, self.rho_hat), (
            self.rho_s * distance(self.mu_s, self.mu_hat)
        ).sum()

    @cached_property
    def pinsker(self) -> jax.Array:
        pair = (self._joint(self.rho_s, self.mu_s), self._joint(self.rho_hat, self.mu_hat))
        # A context without proxy mass makes one of them infinite; its slope is not needed.
        pair = tuple(jnp.maximum(p, 1e-300) for p in pair)
        least = jnp.minimum(kl(*pair), kl(*pair[::-1]))
        return jnp.where(least > 0, jnp.sqrt(0.5 * jnp.where(least > 0, least, 1.0)), 0.0)

    @cached_property
    def reach(self) -> jax.Array:
        """How far the minimiser is from the aligned model, in centred logits."""
        return norm(centred(self.change))

    @cached_property
    def slope(self) -> jax.Array:
        """``|grad f_f(theta_s)|``."""
        return norm(self.rho_f[:, None] * (self.mu_f - self.aligned))

    @cached_property
    def pull(self) -> jax.Array:
        """``|grad (f_s - f_hat_s)(theta_s)|``."""
        safety = self.rho_s[:, None] * (self.aligned - self.mu_s)
        return norm(safety - self.rho_hat[:, None] * (self.aligned - self.mu_hat))

    @cached_property
    def bend(self) -> jax.Array:
        """``beta_Delta / 2`` times the squared reach."""
        return 0.25 * jnp.maximum(self.rho_s - self.rho_hat, 0.0).max() * self.reach**2

    @cached_property
    def tau(self) -> jax.Array:
        return distance(self.mu_f, self.mu_hat)

    @cached_property
    def of_task(self) -> jax.Array:
        return self.contested_sum(self.rho_hat * kl(self.mu_hat, self.mu_f))

    @cached_property
    def of_proxy(self) -> jax.Array:
        return self.contested_sum(self.rho_f * kl(self.mu_f, self.mu_hat))

    def contested_sum(self, values: jax.Array) -> jax.Array:
        return jnp.where(self.contested, values, 0.0).sum()

    @cached_property
    def log_odds(self) -> tuple[jax.Array, jax.Array]:
        """``log(1 + rho_f / (lam rho_hat_s))`` and ``log(1 + lam rho_hat_s / rho_f)``."""
        task = jnp.where(self.contested, self.rho_f, 1.0)
        proxy = jnp.where(self.contested, self.lam * self.rho_hat, 1.0)
        return jnp.log1p(task / proxy), jnp.log1p(proxy / task)

    @cached_property
    def floor(self) -> dict[str, jax.Array]:
        """T5's floor by cause."""
        covered, used = self.rho_hat > 0, self.rho_f > 0
        parts = {
            "teacher mismatch": (covered, self.mu_hat),
            "forgotten": (used & ~covered, self.mu_f),
            "untouched": (~used & ~covered, self.aligned),
        }
        return {
            name: jnp.where(where, self.rho_s * kl(self.mu_s, end), 0.0).sum()
            for name, (where, end) in parts.items()
        }

    @cached_property
    def contest(self) -> jax.Array:
        return self.contested_sum(self.rho_s * self.log_odds[0])

    @cached_property
    def coverage(self) -> jax.Array:
        return (self.rho_s / jnp.where(self.rho_hat > 0, self.rho_hat, 1.0)).max()

    @cached_property
    def front(self) -> jax.Array:
        """The least ``G_f + lam G_s`` of any policy."""
        task, safety = front((self.rho_f, self.mu_f), (self.rho_s, self.mu_s), self.lam)
        return task + self.lam * safety

    def of_any(self, mass: jax.Array, target: jax.Array) -> jax.Array:
        return self._gap(mass, target, self.any)
